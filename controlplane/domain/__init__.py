"""Pure decisions: no IO, no clock, no chance, no logging, no wire. Time and ids come in as arguments."""
