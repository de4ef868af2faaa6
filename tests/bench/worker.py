"""A worker of the bench, seen from the bench: a process of its own that is told what to take and tells what it did.

`noop` runs nothing and measures the control plane; `sdk` is a worker as users write one, with all that it costs.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Literal

from tests.bench.plane import cpu_seconds
from tests.postgres import die_with_parent

LINE_BYTES = 16 << 20
LEAVE_SECONDS = 30.0


class Worker:
    """One worker with so many slots; it begins with `offered` of them. `started_at`: instants of `time.perf_counter`,
    of the worker's own process, unless `starts` is false.
    """

    def __init__(
        self,
        address: str,
        *,
        slots: int = 1000,
        offered: int | None = None,
        starts: bool = True,
        kind: Literal["noop", "sdk"] = "noop",
        more: Sequence[str] = (),
    ) -> None:
        self.started_at: dict[str, float] = {}
        self.acknowledged_count = 0
        self.connected = asyncio.Event()
        self.slots = slots
        self.pid = 0
        self._arguments = [f"tests.bench.{kind}", address, "--slots", str(slots)]
        self._arguments += ["--offered", str(slots if offered is None else offered), *(["--starts"] * starts), *more]
        self._moved = asyncio.Event()
        self._said: asyncio.StreamWriter | None = None

    async def run(self) -> None:
        """Keep the process until `leave`. Raises RuntimeError if it fails."""
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *self._arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LINE_BYTES,
            preexec_fn=die_with_parent,
        )  # fmt: skip
        assert child.stdin is not None
        assert child.stdout is not None
        self.pid, self._said = child.pid, child.stdin
        try:
            async for line in child.stdout:
                self._take(json.loads(line))
            if await child.wait():
                raise RuntimeError(f"the bench's worker ended with {child.returncode}")
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()

    def leave(self) -> None:
        """Say goodbye once every result is acknowledged."""
        self._tell("leave")

    def offer(self, slots: int) -> None:
        """Take so many tasks at once from now on."""
        self._tell(f"offer {slots}")

    def cpu_seconds(self) -> float:
        """CPU time of its process."""
        return cpu_seconds(self.pid) if self.pid else 0.0

    async def acknowledged_up_to(self, count: int, seconds: float) -> None:
        """Wait until so many results are durable. Raises TimeoutError with what was reached."""
        try:
            async with asyncio.timeout(seconds):
                while self.acknowledged_count < count:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            raise TimeoutError(f"{self.acknowledged_count:,} of {count:,} tasks ended in {seconds:g} s") from None

    async def start_of(self, task_id: str, seconds: float = 30.0) -> float:
        """When the task reached this worker. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while task_id not in self.started_at:
                self._moved.clear()
                await self._moved.wait()
        return self.started_at[task_id]

    def _take(self, said: dict[str, object]) -> None:
        match said:
            case {"connected": True}:
                self.connected.set()
            case {"connected": False}:
                self.connected.clear()
            case {"acknowledged": int(count)}:
                self.acknowledged_count += count
            case {"started": list(starts)}:
                for task_id, at in starts:
                    self.started_at.setdefault(task_id, at)
        self._moved.set()

    def _tell(self, line: str) -> None:
        if self._said is not None and not self._said.is_closing():
            self._said.write(line.encode() + b"\n")
