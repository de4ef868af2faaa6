"""The command `pawl`: what a person does with Pawl at a terminal. Starts fast: each command imports what it needs."""


def main() -> int:
    """Run the command line; the exit code is the answer (`exits.py`)."""
    from pawl.cli.root import run

    return run()
