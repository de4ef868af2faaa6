"""A real agent whose runs may print as much and as fast as they like, to see what that does to others.

Of a run's words an agent keeps 1 MiB a second and 10 MiB in all. That is lifted here, and nothing else.
"""

import sys

from pawl.cli import main

from agent import agent, logs

WITHOUT_END = 1 << 40

if __name__ == "__main__":
    vars(agent)["LOG_BYTES"] = WITHOUT_END
    vars(logs).update(RATE_BYTES=WITHOUT_END, BURST_BYTES=WITHOUT_END)
    sys.exit(main())
