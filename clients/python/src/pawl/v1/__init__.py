"""Messages, stubs and the descriptor set: made by proto/generate.py from proto/pawl/v1, never edited."""
