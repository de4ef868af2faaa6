"""One run of a plugin, seen from the agent: what its process says, how much of it is taken, and how it ended.

The process at the other end runs code that nobody here trusts. It is read through callbacks, so a run needs no task of
its own, and never beyond its budgets: who sends more is killed. The end of a run is not what the process says but
what has happened: its process reaped and every channel closed.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, cast

import msgspec
from pawl.plugin_metadata import Entry

from agent.executors import wasm_messages as wire
from agent.executors.base import Failure, LogStream, Outcome, Payload, Sink, Usage
from agent.executors.host_calls import Caller
from agent.executors.wasm_budget import Budget
from agent.redaction import RedactedStream

LINGER_SECONDS: Final = 5.0
"""How long a channel may stay open after the process is gone, before the run ends without it."""
STDERR_KEPT: Final = 4096
LINE_OVERHEAD: Final = 64


@dataclass(frozen=True, slots=True)
class Host:
    """What a run needs of those around it."""

    kill: Callable[[], None]
    hold: Callable[[bool], None]
    """Stops its process, or lets it go on."""
    give_up: Callable[[], None]
    charge: Callable[[int], None]
    """Gets a descriptor of the process once there is one, to keep."""
    caller: Caller
    ask: Callable[[Caller, bytes, Callable[[bytes], None]], None]
    """Has a call of the guest answered, later."""


class WasmRun:
    """The Running of the WASM executor."""

    def __init__(
        self,
        begin: wire.Begin,
        budget: Budget,
        sink: Sink,
        entry: Entry | None,
        host: Host,
    ) -> None:
        self._budget = budget
        self._begin = begin
        self._sink = sink
        self._entry = entry
        self._host = host
        self._redactor = host.caller.redactor
        self._streams = {stream: RedactedStream(self._redactor) for stream in LogStream}
        self._loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[Outcome] = self._loop.create_future()
        self._channel: asyncio.WriteTransport | None = None
        self._open: set[asyncio.BaseTransport] = set()
        self._linger: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._deadline_left: float | None = None  # while it is paused
        self._paused = False
        self._out_of_time = False
        self._asking = False
        self._result: wire.Returned | wire.Failed | None = None
        self._violation = ""
        self._stopped = False
        self._lost = False
        self._exited: wire.Exited | None = None
        self._stderr_tail = b""
        self._frames = 0
        self._logged = 0
        self._began = self._loop.time()

    # Running

    async def wait(self) -> Outcome:
        return await asyncio.shield(self._outcome)

    async def stop(self, grace_seconds: float) -> None:
        """Ask by the next heartbeat, then kill. A guest has no TERM: one that never asks is killed after the grace."""
        self._stopped = True
        self.resume()  # it has to read what it is asked
        if not self._outcome.done() and grace_seconds > 0:
            if self._channel is not None and not self._channel.is_closing():
                self._channel.write(wire.frame(wire.CancelRequested()))
            await asyncio.wait([self._outcome], timeout=grace_seconds)
        if not self._outcome.done():
            self._host.kill()
            await asyncio.wait([self._outcome], timeout=LINGER_SECONDS)
        if not self._outcome.done():
            self._host.give_up()
            await asyncio.wait([self._outcome])

    def pause(self) -> None:
        """Stop its process; the time that its own metadata allows stands still with it."""
        if self._paused or self._stopped or self._outcome.done():
            return
        self._paused = True
        self._host.hold(True)
        if self._deadline is not None:
            self._deadline_left = max(0.0, self._deadline.when() - self._loop.time())
            self._deadline.cancel()

    def resume(self) -> None:
        """Let it go on."""
        if not self._paused:
            return
        self._paused = False
        self._host.hold(False)
        if self._deadline_left is not None and not self._outcome.done():
            self._deadline = self._loop.call_later(self._deadline_left, self._time_is_up)
            self._deadline_left = None

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call back once the outcome is known."""
        self._outcome.add_done_callback(lambda _: callback())

    def abandon(self) -> None:
        """The launch failed: nobody waits for this run."""
        self._outcome.cancel()
        self._host.caller.leave()
        self._close_channels()

    # What the zygote tells

    def forked(self, pidfd: int | None) -> None:
        """The process is there: what came before was compiling, and not the run's."""
        self._began = self._loop.time()
        if self._budget.timeout_seconds is not None and not self._outcome.done():
            self._deadline = self._loop.call_later(self._budget.timeout_seconds, self._time_is_up)
        if pidfd is None:
            return
        if self._outcome.done():  # nobody waits for this run any more
            os.close(pidfd)
        else:
            self._host.charge(pidfd)

    def exited(self, message: wire.Exited) -> None:
        """The process is reaped."""
        self._exited = message
        self._ended()

    def lost(self) -> None:
        """The zygote is gone, and the process with it."""
        self._lost = True
        self._ended()

    def _time_is_up(self) -> None:
        self._out_of_time = True
        self._host.kill()

    def _ended(self) -> None:
        self._linger = self._loop.call_later(LINGER_SECONDS, self._finish)
        self._finish_when_quiet()

    # What the process tells

    def channel_open(self, transport: asyncio.WriteTransport) -> None:
        """The run channel is there: what the run needs goes first."""
        self.opened(transport)
        self._channel = transport
        transport.write(wire.frame(self._begin))

    def opened(self, transport: asyncio.BaseTransport) -> None:
        self._open.add(transport)

    def closed(self, transport: asyncio.BaseTransport) -> None:
        self._open.discard(transport)
        self._finish_when_quiet()

    def frame_limit(self) -> int:
        return max(self._budget.output_bytes, wire.MAX_REQUEST_BYTES) + wire.MAX_SMALL_FRAME

    def frame(self, body: bytes | memoryview) -> None:
        """A frame arrived. One that is wrong, or one too many, ends the run."""
        if self._violation or self._result is not None:
            return
        try:
            message = msgspec.msgpack.decode(body, type=wire.FromGuest)
        except msgspec.DecodeError as error:
            self.violated(f"sent a frame that is none: {error}")
            return
        match message:
            case wire.Log():
                self._log(message, len(body))
            case wire.Alive():
                self._alive()
            case wire.Progress():
                self._progress(message)
            case wire.Ask():
                self._ask(message)
            case wire.Returned(output=output) if len(output) > self._budget.output_bytes:
                self.violated(f"sent an output of {len(output)} bytes")
            case wire.Returned() | wire.Failed():
                self._result = message

    def violated(self, what: str) -> None:
        """The process does not keep the rules that our own code in it keeps: something else is in control of it."""
        if not self._violation:
            self._violation = what
            self._host.kill()

    def _log(self, message: wire.Log, size: int) -> None:
        # The process counts for itself; what it may send is bounded here all the same, twice over for the framing.
        self._logged += size
        if self._logged > 2 * self._budget.log_bytes + 4 * wire.MAX_SMALL_FRAME:
            self.violated("sent more log lines than its limit")
            return
        fields = f" {message.fields}" if message.fields else ""
        line = f"{message.level.upper()} {message.message}{fields}\n"
        self._sink.log(LogStream.LOG, self._redactor.clean(line.encode()))

    def _alive(self) -> None:
        self._frames += 1
        if self._frames > self._budget.host_calls:
            self.violated("sent more heartbeats than it may")
            return
        self._sink.heartbeat()

    def _progress(self, message: wire.Progress) -> None:
        self._frames += 1
        if self._frames > self._budget.host_calls or not 0 <= message.percent <= 100:
            self.violated("sent a progress report that it may not")
            return
        self._sink.progress(message.percent, self._redactor.clean_text(message.message))

    def _ask(self, message: wire.Ask) -> None:
        self._frames += 1
        if self._asking or self._frames > self._budget.host_calls or len(message.request) > wire.MAX_REQUEST_BYTES:
            self.violated("sent a call that it may not")
            return
        self._asking = True
        self._host.ask(self._host.caller, message.request, self._answered)

    def _answered(self, reply: bytes) -> None:
        self._asking = False
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write(wire.frame(wire.Answer(reply)))

    def wrote(self, stream: LogStream, data: bytes) -> bool:
        """Output of the process itself. False: no more is taken, close the pipe."""
        self._logged += len(data) + LINE_OVERHEAD
        self._said(stream, self._streams[stream].feed(data))
        return self._logged <= self._budget.log_bytes

    def _said(self, stream: LogStream, data: bytes) -> None:
        if stream is LogStream.STDERR:
            self._stderr_tail = (self._stderr_tail + data)[-STDERR_KEPT:]
        if data:
            self._sink.log(stream, data)

    # The end

    def _finish_when_quiet(self) -> None:
        if (self._exited is not None or self._lost) and not self._open:
            self._finish()

    def _finish(self) -> None:
        if not self._outcome.done():
            for stream, held in self._streams.items():
                self._said(stream, held.end())
            self._outcome.set_result(self._judge())
        for timer in (self._linger, self._deadline):
            if timer is not None:
                timer.cancel()
        self._host.caller.leave()
        self._close_channels()

    def _close_channels(self) -> None:
        for transport in tuple(self._open):
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()  # whatever is still to be written has no reader
            else:
                transport.close()

    def _judge(self) -> Outcome:
        exited, usage = self._exited, self._usage()
        exit_code = None if exited is None else exited.exit_code
        number = None if exited is None else exited.signal
        if self._violation:
            return Outcome(self._crash(f"its process {self._violation}", retryable=False), signal=number, usage=usage)
        match self._result:
            case wire.Returned(output=output, output_size=size):
                truncated = size > len(output)
                output = self._redactor.clean(output)
                payload = Payload(output, self._content_type(output, truncated)) if size else None
                return Outcome(None, 0, None, payload, size, truncated, usage)
            case wire.Failed() as failed:
                message = self._redactor.clean_text(failed.message)
                failure = Failure(failed.code, message, failed.retryable, failed.retry_after_seconds)
                return Outcome(failure, exit_code=failed.exit_code, usage=usage)
        if self._lost:
            failure = self._crash("the process that plugins are forked from ended", retryable=True)
        elif number is not None:
            failure = self._ended_by_signal(number)
        else:
            failure = self._crash("its process ended without a result", retryable=False)
        return Outcome(failure, exit_code=exit_code, signal=number, usage=usage)

    def _ended_by_signal(self, number: int) -> Failure:
        name = str(number)
        with suppress(ValueError):
            name = signal.Signals(number).name
        if self._out_of_time and number == signal.SIGKILL:
            message = f"the plugin ran longer than the {self._budget.timeout_seconds:g} s that its own metadata allows"
            return Failure("PLUGIN_TIMEOUT", message)
        if number == signal.SIGXCPU:
            message = f"the plugin used more than {self._budget.cpu_seconds} s of CPU time"
            return Failure("PLUGIN_CPU_EXHAUSTED", message, retryable=False)
        if self._stopped and number == signal.SIGKILL:
            return Failure("STOPPED", "the plugin did not end by itself and was killed", retryable=False)
        tail = self._stderr_tail.decode(errors="replace").lower()
        if number == signal.SIGABRT and ("memory allocation of" in tail or "out of memory" in tail):
            return Failure("PLUGIN_OUT_OF_MEMORY", f"the plugin needs more memory than it may have ({name})", False)
        # KILL from elsewhere is the system's, most often for memory: another try elsewhere can succeed.
        return self._crash(f"its process was ended by {name}", retryable=number == signal.SIGKILL)

    def _crash(self, what: str, *, retryable: bool) -> Failure:
        words = self._stderr_tail.decode(errors="replace").strip()
        return Failure("PLUGIN_CRASH", f"the plugin crashed: {what}" + (f": {words}" if words else ""), retryable)

    def _usage(self) -> Usage:
        wall, exited = self._loop.time() - self._began, self._exited
        if exited is None:
            return Usage(wall_seconds=wall)
        return Usage(
            wall,
            exited.user_cpu_seconds,
            exited.system_cpu_seconds,
            exited.peak_memory_bytes,
            cpu_throttled_seconds=exited.throttled_seconds,
        )

    def _content_type(self, output: bytes, truncated: bool) -> str:
        """The type the plugin's metadata declares, else what the bytes are. Half a JSON text is not JSON."""
        try:
            output.decode()
        except UnicodeDecodeError:
            text = False
        else:
            text = True
        if truncated:
            return "text/plain; charset=utf-8" if text else "application/octet-stream"
        if self._entry is not None and self._entry.output_content_type:
            return self._entry.output_content_type
        try:
            json.loads(output)
        except (ValueError, RecursionError):
            return "text/plain; charset=utf-8" if text else "application/octet-stream"
        return "application/json"


class FrameChannel(asyncio.Protocol):
    """Cuts the bytes of a run channel into frames."""

    def __init__(self, run: WasmRun) -> None:
        self._run = run
        self._buffer = bytearray()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._run.channel_open(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= wire.FRAME_HEAD:
            length = int.from_bytes(self._buffer[at : at + wire.FRAME_HEAD], "big")
            if length > self._run.frame_limit():
                self._run.violated(f"announced a frame of {length} bytes")
                self._buffer.clear()
                return
            end = at + wire.FRAME_HEAD + length
            if len(self._buffer) < end:
                break
            self._run.frame(bytes(self._buffer[at + wire.FRAME_HEAD : end]))
            at = end
        del self._buffer[:at]

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.closed(self._transport)


class OutputPipe(asyncio.Protocol):
    """Reads what the process writes to its stdout or stderr, as long as it is taken."""

    def __init__(self, run: WasmRun, stream: LogStream) -> None:
        self._run = run
        self._stream = stream
        self._transport: asyncio.BaseTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._run.opened(transport)

    def data_received(self, data: bytes) -> None:
        if not self._run.wrote(self._stream, data):
            self._transport.close()  # the writer gets EPIPE and goes on without: neither side hangs or burns

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.closed(self._transport)
