"""Ships what runs print to the control plane: in order, in numbered chunks, within bounds, and never in a result's way.

A run writes into its `InstanceLog` and never waits. One shipper for the whole agent gathers what is there into calls of
at most 256 KiB and repeats a call until it is taken; the numbers make a repeat harmless. What does not fit into memory,
comes faster than a run may fill a log, or exceeds the log limit of the instance, is dropped, counted, and said in the
log itself at the place where it is missing. The end is kept whatever is dropped before it: how a run ended is what
people look for. Chunks live in memory: an agent that is killed loses the last ones, never a result.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import grpc
import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp
from pawl.v1 import agent_pb2, task_pb2

from agent.executors.base import LogStream

CALL_BYTES: Final = 1 << 18
"""Small, for whatever takes one in can do nothing else meanwhile."""
CHUNK_BYTES: Final = 60 << 10
"""The control plane stores chunks of up to 64 KiB; this leaves room for what surrounds the lines."""
LINE_OVERHEAD: Final = 24
PART_BYTES: Final = 32 << 10
"""A line longer than this is shipped in parts."""
BUFFER_BYTES: Final = 6 << 20
"""Of one run: a burst, with what surrounds its lines."""
TOTAL_BYTES: Final = 32 << 20
RATE_BYTES: Final = 1 << 20
"""A second: so much of a run's output is kept for longer than a burst, whatever comes."""
BURST_BYTES: Final = 4 << 20
RESUME_BYTES: Final = 128 << 10
"""After a gap nothing is taken before there is room for so much: few gaps with long pieces between them."""
LONG_LINE: Final = 1024
END_BYTES: Final = 64 << 10
"""Of its limit so much is for the end of a log that would be longer; and so much of a gap is kept, its last bytes."""
GATHER_SECONDS: Final = 0.2
"""How long lines are gathered before they leave, while nobody waits for them."""
CALL_SECONDS: Final = 10.0
FIRST_BACKOFF_SECONDS: Final = 0.2
LAST_BACKOFF_SECONDS: Final = 5.0
_REFUSALS: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.PERMISSION_DENIED,
    }
)
_STREAMS: Final = {
    LogStream.STDOUT: task_pb2.LogEntry.STDOUT,
    LogStream.STDERR: task_pb2.LogEntry.STDERR,
    LogStream.LOG: task_pb2.LogEntry.LOG,
}

_TOO_FAST: Final = f"a run may print {RATE_BYTES >> 20} MiB a second, and {BURST_BYTES >> 20} MiB at once"

Append = Callable[[agent_pb2.AppendLogsRequest], Awaitable[object]]

log = logging.getLogger("pawl.agent.logs")


class InstanceLog:
    """The log of one instance, from its first line until its last chunk is stored or given up."""

    __slots__ = (
        "_dropped_bytes", "_dropped_lines", "_end", "_end_room", "_end_size", "_full", "_gone", "_lines", "_number",
        "_open_line", "_rate_at", "_rate_left", "_ref", "_room", "_shipper", "_size", "_stored", "_tails", "_waiter",
        "_why_dropped", "closed",
    )  # fmt: skip

    def __init__(self, shipper: LogShipper, ref: agent_pb2.InstanceRef, limit_bytes: int) -> None:
        self._shipper = shipper
        self._ref = ref
        self._end_room = min(END_BYTES, limit_bytes // 4)
        self._room = limit_bytes - self._end_room
        self._end: deque[tuple[LogStream, bytes]] = deque()
        self._end_size = 0
        self._full = False
        self._lines: deque[tuple[task_pb2.LogEntry.Stream, Timestamp, bytes]] = deque()
        self._tails: dict[LogStream, bytes] = {}
        self._size = 0
        self._number = 0
        self._open_line = False
        self._stored = 0
        self._dropped_bytes = 0
        self._dropped_lines = 0
        self._why_dropped = ""
        self._rate_left = float(BURST_BYTES)
        self._rate_at = time.monotonic()
        self._waiter: asyncio.Future[None] | None = None
        self._gone = False
        self.closed = False

    def write(self, stream: LogStream, data: bytes) -> None:
        """Take some output, whole lines or not."""
        if self.closed or not data or self._gone:
            return
        flow, why = self._flow()
        if flow and self._gap and not self._full:
            flow -= self._let_end_go()
        kept = _fitting(data, min(flow, self._room))
        is_full = self._room <= flow
        if kept:
            self._room -= kept
            self._rate_left -= kept
            self._take(stream, data[:kept] if kept < len(data) else data)
        if kept < len(data):
            if is_full and not self._full:
                self._fill()
            elif not self._full:
                self._why_dropped = why
            self._keep_end(stream, data[kept:])
        self._shipper.wake()

    def _flow(self) -> tuple[int, str]:
        """How many bytes may be taken now, and why no more: what memory and its rate have room for. Nothing where that
        is little and there is a gap already.
        """
        now = time.monotonic()
        self._rate_left = min(float(BURST_BYTES), self._rate_left + (now - self._rate_at) * RATE_BYTES)
        self._rate_at = now
        buffer, rate = min(BUFFER_BYTES - self._size, self._shipper.room), int(self._rate_left)
        flow = max(0, min(buffer, rate))
        if self._gap and flow < RESUME_BYTES:
            flow = 0
        return flow, _TOO_FAST if rate < buffer else "it came faster than it left"

    @property
    def _gap(self) -> bool:
        """Whether what came last has found no room."""
        return bool(self._end or self._dropped_bytes)

    def _fill(self) -> None:
        """The log is full; what comes now is its end, until more comes."""
        self._let_end_go()
        self._full = True
        self._room = 0
        self._begin_line(f"[pawl] this log is full; its last {self._end_room:,} bytes come when the run has ended")
        self._why_dropped = "the log limit of this instance is reached"

    def _let_end_go(self) -> int:
        """A gap is over: say how large it was, and take what came last in it. Gives the size of that."""
        size = self._end_size
        if self._dropped_bytes:
            self._say_dropped()
        while self._end:
            self._take(*self._end.popleft())
        self._end_size = 0
        self._room = max(0, self._room - size)
        self._rate_left -= size
        return size

    def _keep_end(self, stream: LogStream, data: bytes) -> None:
        """Of what finds no room the last is kept."""
        self._end.append((stream, data))
        self._end_size += len(data)
        while self._end_size > self._end_room:
            stream, first = self._end.popleft()
            over = min(self._end_size - self._end_room, len(first))
            # A line that is cut in two is of no use; but half of a very long one is better than nothing.
            cut = first.find(b"\n", over - 1) + 1 or over
            if cut - over >= LONG_LINE:
                cut = over
            if cut < len(first):
                self._end.appendleft((stream, first[cut:]))
            self._end_size -= cut
            self._dropped_bytes += cut
            self._dropped_lines += first.count(b"\n", 0, cut)

    def say(self, text: str) -> None:
        """A line of Pawl's own; it counts against no limit."""
        self._append(LogStream.LOG, _now(), f"{text}\n".encode())
        self._shipper.wake()

    async def close(self, wait_seconds: float) -> None:
        """Nothing more comes. Wait until all of it is stored, but not longer than this."""
        self.closed = True
        self._close_tails()
        self._let_end_go()
        self._close_tails()
        if self._gone or (self._stored == self._number and not self._lines):
            self._release()
            return
        self._waiter = asyncio.get_running_loop().create_future()
        await self.leave(wait_seconds)

    @property
    def is_out(self) -> bool:
        """Whether it is closed, and all of it is stored or given up."""
        return self.closed and (self._waiter is None or self._waiter.done())

    async def leave(self, wait_seconds: float) -> None:
        """Of a closed one: wait until all of it is stored, but not longer than this."""
        self._shipper.hurry()
        if self._waiter is not None and wait_seconds > 0:
            await asyncio.wait({self._waiter}, timeout=wait_seconds)

    def _take(self, stream: LogStream, data: bytes) -> None:
        now = _now()
        tail = self._tails.pop(stream, None)
        if tail is not None:
            self._resize(-len(tail))
            data = tail + data
        end = data.rfind(b"\n") + 1
        if end:
            self._append_whole(stream, now, data[: end - 1].split(b"\n"))
        rest = data[end:]
        if len(rest) > PART_BYTES:
            cut = _whole_characters(rest)
            self._append_parts(stream, now, rest[:cut])
            rest = rest[cut:]
        if rest:
            self._tails[stream] = rest
            self._resize(len(rest))

    def _append_whole(self, stream: LogStream, now: Timestamp, lines: list[bytes]) -> None:
        """Lines without their ends. All at once: a program can print a hundred thousand of them a second."""
        if max(map(len, lines)) >= PART_BYTES:
            for line in lines:
                self._append_parts(stream, now, line + b"\n")
            return
        number = _STREAMS[stream]
        whole = [(number, now, line + b"\n") for line in lines]
        self._lines.extend(whole)
        self._open_line = False
        self._resize(sum(map(len, lines)) + len(lines) * (LINE_OVERHEAD + 1))

    def _append_parts(self, stream: LogStream, now: Timestamp, line: bytes) -> None:
        while len(line) > PART_BYTES:
            cut = _whole_characters(line[:PART_BYTES])
            self._append(stream, now, line[:cut])
            line = line[cut:]
        if line:
            self._append(stream, now, line)

    def _append(self, stream: LogStream, now: Timestamp, line: bytes) -> None:
        self._lines.append((_STREAMS[stream], now, line))
        self._open_line = not line.endswith(b"\n")
        self._resize(len(line) + LINE_OVERHEAD)

    def _resize(self, by: int) -> None:
        self._size += by
        self._shipper.room -= by

    def _close_tails(self) -> None:
        """Parts of lines leave too: somebody may be following. Only the end of all may cut a character."""
        now = _now()
        tails, self._tails = self._tails, {}
        for stream, tail in tails.items():
            self._resize(-len(tail))
            cut = len(tail) if self.closed else _whole_characters(tail)
            self._append(stream, now, tail[:cut])
            if cut < len(tail):
                self._tails[stream] = tail[cut:]
                self._resize(len(tail) - cut)

    def _say_dropped(self) -> None:
        lines = f" ({self._dropped_lines:,} lines)" if self._dropped_lines else ""
        self._begin_line(f"[pawl] {self._dropped_bytes:,} bytes{lines} of output are missing here: {self._why_dropped}")
        self._dropped_bytes = self._dropped_lines = 0

    def _begin_line(self, text: str) -> None:
        """A word about a gap, after all that came before it and in a line of its own."""
        self._close_tails()
        begin = "\n" if self._open_line else ""
        self.say(f"{begin}{text}")

    # The shipper's side.

    @property
    def waiting(self) -> bool:
        """Whether there is something to ship."""
        return bool(self._lines or any(len(tail) > 3 or tail.isascii() for tail in self._tails.values()))

    def take_chunk(self, request: agent_pb2.AppendLogsRequest, room: int) -> int:
        """Put the next chunk that fits into so many bytes into a call; its size, 0 for none."""
        if not self._lines and self._tails:
            self._close_tails()
        limit = min(room, CHUNK_BYTES)
        chunk = request.chunks.add(instance=self._ref, number=self._number + 1)
        size = 0
        lines, add = self._lines, chunk.lines.add
        while lines:
            stream, read_at, data = lines[0]
            step = len(data) + LINE_OVERHEAD
            if size + step > limit:
                break
            line = add()  # told one by one: keywords cost twice as much
            line.stream = stream
            line.data = data
            line.time.CopyFrom(read_at)
            size += step
            lines.popleft()
        if not size:
            del request.chunks[-1]
            return 0
        self._number += 1
        self._size -= size
        return size

    def settled(self) -> None:
        """What was taken is stored."""
        self._stored = self._number
        if self.closed and not self.waiting:
            self._release()

    def give_up(self) -> None:
        """The control plane wants no more of it."""
        self._gone = True
        self._lines.clear()
        self._tails.clear()
        self._end.clear()
        self._shipper.room += self._size
        self._size = 0
        self._room = 0
        self._release()

    def _release(self) -> None:
        self._shipper.forget(self)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class LogShipper:
    """Ships the logs of all instances of an agent, one call at a time."""

    def __init__(self, append: Append, agent_id: str, namespace_id: str) -> None:
        self._append = append
        self._agent_id = agent_id
        self._namespace_id = namespace_id
        self._logs: dict[tuple[str, int], InstanceLog] = {}
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._in_reach = asyncio.Event()
        self.room = TOTAL_BYTES

    @property
    def waiting_bytes(self) -> int:
        """What is not stored yet."""
        return TOTAL_BYTES - self.room

    def open(self, ref: agent_pb2.InstanceRef, limit_bytes: int) -> InstanceLog:
        """A log for an instance."""
        opened = self._logs[ref.instance_id, ref.token] = InstanceLog(self, ref, limit_bytes)
        return opened

    def wake(self) -> None:
        """There is something to ship."""
        if not self._wake.is_set():
            self._wake.set()

    def hurry(self) -> None:
        """Somebody waits for it."""
        self._hurry.set()
        self._wake.set()

    def in_reach(self) -> None:
        """The control plane has been heard of: what waits to be tried again need not wait longer."""
        self._in_reach.set()

    def forget(self, instance_log: InstanceLog) -> None:
        """Nothing more will come of this one."""
        key = (instance_log._ref.instance_id, instance_log._ref.token)
        if self._logs.get(key) is instance_log:
            del self._logs[key]

    async def run(self) -> None:
        """Ship for ever; cancelled by whoever runs the agent."""
        while True:
            await self._wake.wait()
            if not self._hurry.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(GATHER_SECONDS):
                        await self._hurry.wait()
            self._wake.clear()
            self._hurry.clear()
            while True:
                request, logs, size = self._gather()
                if not logs:
                    break
                await self._deliver(request, logs)
                self.room += size

    def _gather(self) -> tuple[agent_pb2.AppendLogsRequest, list[InstanceLog], int]:
        """One call's worth, from the instances in turn."""
        request = agent_pb2.AppendLogsRequest(agent_id=self._agent_id, namespace_id=self._namespace_id)
        taken: list[InstanceLog] = []
        size = 0
        waiting = deque(log for log in self._logs.values() if log.waiting)
        while waiting and size < CALL_BYTES - CHUNK_BYTES:
            instance_log = waiting.popleft()
            chunk_size = instance_log.take_chunk(request, CALL_BYTES - size)
            if not chunk_size:
                continue
            size += chunk_size
            if instance_log not in taken:
                taken.append(instance_log)
            if instance_log.waiting:
                waiting.append(instance_log)
        # The next call begins with others.
        for instance_log in taken:
            key = (instance_log._ref.instance_id, instance_log._ref.token)
            if key in self._logs:
                self._logs[key] = self._logs.pop(key)
        return request, taken, size

    async def _deliver(self, request: agent_pb2.AppendLogsRequest, logs: list[InstanceLog]) -> None:
        """Repeat a call until it is taken. One that is refused is asked again for each instance alone."""
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            try:
                await self._append(request)
            except grpc.aio.AioRpcError as error:
                if error.code() in _REFUSALS:
                    await self._refused(request, logs, error)
                    return
                log.debug("logs wait: %s: %s", error.code().name, error.details())
                self._in_reach.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(backoff):
                        await self._in_reach.wait()
                backoff = min(backoff * 2, LAST_BACKOFF_SECONDS)
            else:
                for instance_log in logs:
                    instance_log.settled()
                return

    async def _refused(
        self, request: agent_pb2.AppendLogsRequest, logs: list[InstanceLog], error: grpc.aio.AioRpcError
    ) -> None:
        if len(logs) == 1:
            log.warning("the log of %s is not wanted: %s", logs[0]._ref.instance_id, error.details())
            logs[0].give_up()
            return
        for instance_log in logs:
            alone = agent_pb2.AppendLogsRequest(agent_id=self._agent_id, namespace_id=self._namespace_id)
            alone.chunks.extend(chunk for chunk in request.chunks if chunk.instance == instance_log._ref)
            await self._deliver(alone, [instance_log])


def _now() -> Timestamp:
    seconds, nanos = divmod(time.time_ns(), 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos)


def _fitting(data: bytes, room: int) -> int:
    """How much of it fits: all, or as much as ends with a line, or a long part of a long one."""
    if len(data) <= room:
        return len(data)
    return data.rfind(b"\n", 0, room) + 1 or (room if room >= LONG_LINE else 0)


def _whole_characters(data: bytes) -> int:
    """How much of it ends with a whole UTF-8 character; all of it if it is no UTF-8 anyway."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if back < length and back < len(data) else len(data)
    return len(data)
