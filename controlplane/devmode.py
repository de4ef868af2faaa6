"""The agent beside `pawl dev`: a process of its own, started again when it falls, stopped before the control plane."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import structlog
from pawl.credential import FILE_VARIABLE, KEY_VARIABLE

if TYPE_CHECKING:
    from controlplane.config import Settings

_log = structlog.get_logger("controlplane.dev")

NAME = "dev"
LOOK_SECONDS = 0.5
# Ends with us however we end: on Linux the kernel sends it TERM when this process is gone (PR_SET_PDEATHSIG is 1).
# We may have gone before it asked for that, and then nobody sends anything.
PROGRAM = """
import os, signal, sys
parent = int(sys.argv.pop(1))
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(0)
from pawl.cli import main
sys.exit(main())
"""
PATIENCE_SECONDS = 15.0
REST_SECONDS = 1.0


class AgentProcess:
    """Started with the control plane's address; `leave` lets it say goodbye, `stop` makes sure that it is gone.

    It speaks in the server's format and sends its spans where the server's go; of its own doings it says little, unless
    everything is wanted.
    """

    def __init__(self, settings: Settings, slots: int) -> None:
        self._data_dir = settings.data_dir / "dev-agent"
        self._slots = slots
        self._level = "debug" if settings.logging.level == "debug" else "warning"
        self._format = settings.logging.format
        # Keys are for other servers: this one asks for none, and must not be shown any.
        keys = (KEY_VARIABLE, FILE_VARIABLE, "PAWL_SERVER_KEY", "PAWL_SERVER_KEY_FILE")
        self._environment = {name: value for name, value in os.environ.items() if name not in keys}
        # On a developer's machine the endpoints that work calls are mostly there as well.
        self._environment.setdefault("PAWL_HTTP_PRIVATE_HOSTS", "localhost:*, 127.0.0.1:*, [::1]:*")
        if settings.telemetry.otlp_endpoint:
            self._environment["PAWL_TELEMETRY_OTLP_ENDPOINT"] = settings.telemetry.otlp_endpoint
        self._address = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._leaving = False

    def start(self, address: str) -> None:
        """Start it. In a session of its own, so that Ctrl-C reaches it through us and in our order."""
        self._address = address
        command = [sys.executable, "-c", PROGRAM, str(os.getpid()), "agent"]
        options = ["--server", address, "--name", NAME, "--slots", str(self._slots)]
        options += ["--log-level", self._level, "--log-format", self._format, "--data-dir", str(self._data_dir)]
        self._process = subprocess.Popen(
            [*command, *options], start_new_session=True, stdin=subprocess.DEVNULL, env=self._environment
        )

    async def watch(self) -> None:
        """Start it again when it ends by itself, until it is to leave."""
        while not self._leaving:
            await asyncio.sleep(LOOK_SECONDS)
            if self._process is None or self._leaving:
                continue
            code = self._process.poll()
            if code is not None:
                _log.warning("the agent ended and is started again", exit_code=code)
                await asyncio.sleep(REST_SECONDS)
                self.start(self._address)

    async def leave(self) -> None:
        """Ask it to go, and wait until it has said goodbye."""
        self._leaving = True
        if self._process is None:
            return
        self._process.terminate()
        for _ in range(int(PATIENCE_SECONDS / 0.05)):
            if self._process.poll() is not None:
                return
            await asyncio.sleep(0.05)

    def stop(self) -> None:
        """Whatever happened before: it is gone afterwards. Its keeper ends what it ran."""
        self._leaving = True
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
