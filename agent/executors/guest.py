"""One run of a plugin, inside the process that the zygote forked for it, and what the plugin may ask of its host.

Everything here is expendable: a plugin can make the native runtime crash, hang or eat its memory, and then this process
is what dies. So nothing here judges deadlines or trusts itself to end; the agent does that from outside. It is not the
place for anything two runs share: each process serves exactly one.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import extism
import msgspec
from extism import CurrentPlugin, Val, ValType
from extism.extism import CompiledPlugin
from extism_sys import ffi, lib  # type: ignore[import-untyped]  # a cffi module, it has no types

from agent.executors import wasm_messages as wire
from agent.executors.own_words import own_words
from agent.redaction import Redactor

RUN_CHANNEL: Final = 3
NOBODY: Final = 65534
NATIVE_SLACK_BYTES: Final = 64 << 20
"""Of data memory for the runtime itself (stacks, tables, the instance), over what the guest may use."""
TRAP_TEXT: Final = "error while executing at wasm backtrace"
TRAP_CODE: Final = 134
EXTISM: Final = "extism:host/env"
AGENT_OPS: Final = frozenset({"http", "secret"})
"""Answered by the agent, which alone knows what is granted."""
WARM_UP_PASSES: Final = 20
"""After so many the interpreter has made of its code what it will."""
ALIVE_SECONDS: Final = 0.2
"""At most one sign of life in this time: a guest may ask in a loop."""
LEVELS: Final = ("trace", "debug", "info", "warn", "error")

SHIM: Final = """
(module
  (import "extism:host/user" "pawl_call" (func $host (param i64) (result i64)))
  (func (export "call") (param $request i64) (result i64) (local $reply i64)
    (local.set $reply (call $host (local.get $request)))
    (if (i64.eqz (local.get $reply)) (then unreachable))
    (local.get $reply)))
"""
"""The module `pawl` that stands before the host function. A host function cannot raise an error into the guest, so it
answers 0 and the shim traps: the guest's code never runs on after its run was ended."""


class Ended(Exception):
    """The run ends here, whatever the guest does next."""

    def __init__(self, failed: wire.Failed) -> None:
        super().__init__(failed.message)
        self.failed = failed


class Rejected(Exception):
    """A call of the guest that is answered with an error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Request(msgspec.Struct):
    """What a guest hands to `pawl::call`."""

    op: str
    name: str = ""
    args: dict[str, Any] = {}


class _SecretValue(msgspec.Struct):
    value: str


class _SecretReply(msgspec.Struct):
    ok: _SecretValue | None = None


# Made before the fork: what a child makes itself costs it pages of its own.
_requests: Final = msgspec.json.Decoder(Request)
_launches: Final = msgspec.msgpack.Decoder(wire.Launch)
_from_agent: Final[msgspec.msgpack.Decoder[wire.ToGuest]] = msgspec.msgpack.Decoder(wire.ToGuest)


class Session:
    """The host's side of one run: answers the guest's calls within its budgets, or has the agent answer them."""

    def __init__(self, channel: socket.socket, begin: wire.Begin) -> None:
        self.channel = channel
        self.begin = begin
        self.ended: Ended | None = None
        self.redactor = Redactor()
        self._calls_left = begin.host_calls
        self._log_left = begin.log_bytes
        self._lines_left = begin.log_lines
        self._cancel_requested = False
        self._alive_at = 0.0
        self._ops: Mapping[str, Callable[[Request], Mapping[str, object]]] = {
            "log": self._log,
            "progress": self._progress,
            "heartbeat": self._heartbeat,
        }

    def send(self, message: wire.FromGuest) -> None:
        self.channel.sendall(wire.frame(message))

    def call(self, data: bytes) -> bytes:
        """One `pawl::call`: the reply's bytes. Raises Ended where the run must not go on."""
        try:
            try:
                request = _requests.decode(data)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise Rejected("INVALID_ARGUMENT", f"the request is not {{op, name, args}} in JSON: {error}") from None
            op = self._ops.get(request.op)
            if request.op != "log":  # lines have budgets of their own
                self._spend()
            if request.op in AGENT_OPS:
                return self._ask(request.op, data)
            if op is None:
                raise Rejected("UNSUPPORTED_OP", f"op {cut_name(request.op)} is not offered here")
            return msgspec.json.encode({"ok": op(request)})
        except Rejected as rejected:
            return msgspec.json.encode({"error": {"code": rejected.code, "message": str(rejected), "retryable": False}})

    def _spend(self) -> None:
        self._calls_left -= 1
        if self._calls_left < 0:
            raise Ended(
                wire.Failed(
                    "PLUGIN_HOST_CALLS_EXHAUSTED", f"the plugin made more than {self.begin.host_calls} host calls"
                )
            )

    def _ask(self, op: str, data: bytes) -> bytes:
        self.send(wire.Ask(data))
        while not isinstance(message := receive(self.channel), wire.Answer):
            self._cancel_requested = True  # the agent says nothing else while a call is under way
        if op == "secret" and (given := msgspec.json.decode(message.reply, type=_SecretReply).ok) is not None:
            self.redactor.learn(given.value)  # the agent hides it too, but not what the cut of an output makes of it
        return message.reply

    def log(self, level: str, message: str, fields: str = "") -> None:
        """Hand a line on; beyond a limit it is dropped, after a last line that says so."""
        if self._log_left <= 0 or self._lines_left <= 0:
            return
        message, fields = wire.cut(message, wire.MAX_LOG_MESSAGE), wire.cut(fields, wire.MAX_LOG_MESSAGE)
        self._log_left -= len(message) + len(fields) + len(level) + 2
        self._lines_left -= 1
        self.send(wire.Log(level, message, fields))
        if self._log_left <= 0:
            self.send(wire.Log("warn", f"log limit of {self.begin.log_bytes} bytes reached; the rest is dropped"))
        elif self._lines_left <= 0:
            self.send(wire.Log("warn", f"log limit of {self.begin.log_lines} lines reached; the rest is dropped"))

    def _log(self, request: Request) -> Mapping[str, object]:
        level, fields = request.args.get("level", "info"), request.args.get("fields", {})
        if level not in LEVELS:
            raise Rejected("INVALID_ARGUMENT", f"args.level must be one of {', '.join(LEVELS)}")
        if not isinstance(fields, dict):
            raise Rejected("INVALID_ARGUMENT", "args.fields must be an object")
        text = msgspec.json.encode(fields).decode() if fields else ""
        self.log(level, _text(request, "message", required=True), text)
        return {}

    def _progress(self, request: Request) -> Mapping[str, object]:
        percent = request.args.get("percent")
        if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
            raise Rejected("INVALID_ARGUMENT", "args.percent must be a number from 0 to 100")
        self.send(wire.Progress(float(percent), wire.cut(_text(request, "message"), 4096)))
        return {}

    def _heartbeat(self, _: Request) -> Mapping[str, object]:
        # Outside of a call the agent sends nothing but the wish to cancel, so what can be read is that (or its end).
        if not self._cancel_requested:
            self._cancel_requested = bool(select.select([self.channel], [], [], 0)[0])
        now = time.monotonic()
        if now - self._alive_at >= ALIVE_SECONDS:
            self._alive_at = now
            self.send(wire.Alive())
        return {"cancel_requested": self._cancel_requested}


def _text(request: Request, key: str, *, required: bool = False) -> str:
    value = request.args.get(key, None if required else "")
    if not isinstance(value, str):
        raise Rejected("INVALID_ARGUMENT", f"args.{key} must be a string")
    return value


def cut_name(name: str) -> str:
    """A name out of a guest's mouth, fit for a message."""
    return repr(name if len(name) <= 64 else name[:64] + "…")


# Host functions -----------------------------------------------------------------------------------------------------
# Registered when this module is imported, never for a run: the registry is global and only grows. Each catches all that
# it raises, since an exception that leaves a cffi callback is printed and lost while the guest runs on.


def _bytes_at(plugin: CurrentPlugin, handle: Val, most: int) -> bytes:
    memory = plugin.memory_at_offset(handle)
    if memory.length > most:  # a length can be forged: never read by it unchecked
        raise Ended(wire.Failed("PLUGIN_REQUEST_TOO_LARGE", f"a host call of {memory.length} bytes; at most {most}"))
    return bytes(plugin.memory(memory)[:])


def _pawl_call(plugin: CurrentPlugin, inputs: list[Val], outputs: list[Val]) -> None:
    session: Session = plugin.host_context()
    outputs[0].value = 0
    if session.ended is not None:
        return
    try:
        reply = session.call(_bytes_at(plugin, inputs[0], wire.MAX_REQUEST_BYTES))
        plugin.return_bytes(outputs[0], reply)
    except Ended as ended:
        session.ended = ended
    except Exception as error:  # see above: it would be lost
        session.ended = Ended(wire.Failed("PLUGIN_CRASH", f"a host call failed: {error}"))


def _log_function(level: str) -> Any:
    def log(plugin: CurrentPlugin, inputs: list[Val], _: list[Val]) -> None:
        session: Session = plugin.host_context()
        try:
            session.log(level, _bytes_at(plugin, inputs[0], wire.MAX_REQUEST_BYTES).decode(errors="replace"))
            plugin.free(plugin.memory_at_offset(inputs[0]))  # Extism's log functions own what they are given
        except Exception as error:  # see above: it would be lost
            session.ended = session.ended or Ended(wire.Failed("PLUGIN_CRASH", f"a log call failed: {error}"))

    return extism.host_fn(name=f"log_{level}", namespace=EXTISM, signature=([ValType.I64], []))(log)


def _get_log_level(_: CurrentPlugin, __: list[Val], outputs: list[Val]) -> None:
    outputs[0].value = 0  # trace: what a plugin writes is kept, readers choose


HOST_FUNCTIONS: Final = [
    extism.host_fn(name="pawl_call", signature=([ValType.I64], [ValType.I64]))(_pawl_call),
    extism.host_fn(name="get_log_level", namespace=EXTISM, signature=([], [ValType.I32]))(_get_log_level),
    *(_log_function(level) for level in LEVELS),
]
"""Extism's own log functions are shadowed: they would buffer without a limit and come out at the end."""


# The process --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Zygote:
    """What a guest's process is forked from: its id, and the data memory that counts for the child from the start."""

    pid: int
    data_bytes: int

    @classmethod
    def this(cls) -> Zygote:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return cls(os.getpid(), int(statm.read().split()[5]) * resource.getpagesize())


def stand_by(door: socket.socket, zygote: Zygote) -> tuple[wire.Launch, list[int]] | None:
    """Wait in a spare for the run that it will be, having touched what a run touches. None: it is not needed."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(door.detach(), RUN_CHANNEL)
    os.closerange(RUN_CHANNEL + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])  # above all the zygote's own channel
    _libc.prctl(_PR_SET_NAME, SPARE_NAME, 0, 0, 0)
    die_with_parent(zygote.pid)
    warm_up(1)
    door = socket.socket(fileno=RUN_CHANNEL)
    data, descriptors, _, _ = socket.recv_fds(door, 65536, 8)
    door.detach()  # its number becomes the run channel's
    return (_launches.decode(data), list(descriptors)) if data else None


def take_over(channel: int, stderr: int, stdout: int | None, launch: wire.Launch, zygote: Zygote) -> None:
    """Make the process just forked the guest's: its descriptors, its limits, its tie to the zygote."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(stderr, 2)
    os.dup2(null if stdout is None else stdout, 1)
    os.dup2(channel, RUN_CHANNEL)
    os.closerange(RUN_CHANNEL + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, launch.memory_bytes)  # not 0: the first image of a memory is a file without a name
    _limit(resource.RLIMIT_CPU, launch.cpu_seconds, over=1)  # first SIGXCPU, which says why, then SIGKILL
    _limit(resource.RLIMIT_NOFILE, launch.open_files)
    _limit(resource.RLIMIT_DATA, zygote.data_bytes + launch.memory_bytes + NATIVE_SLACK_BYTES)
    _leave_root()
    _libc.prctl(_PR_SET_NAME, GUEST_NAME, 0, 0, 0)
    die_with_parent(zygote.pid)


def _limit(which: int, value: int, over: int = 0) -> None:
    """Set a limit, and one that cannot be raised again that much above it."""
    hard = resource.getrlimit(which)[1]
    most = value + over if hard == resource.RLIM_INFINITY else min(value + over, hard)
    resource.setrlimit(which, (min(value, most), most))


def _leave_root() -> None:
    """A guest that broke out should not be root. Where no such user is mapped the sandbox stands alone."""
    if os.getuid() == 0:
        with suppress(OSError):
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)


_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_GET_NO_NEW_PRIVS: Final = 39
_PR_SET_NAME: Final = 15
SPARE_NAME: Final = b"pawl-spare"
GUEST_NAME: Final = b"pawl-plugin"
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """Have the system kill this process when its parent dies; also forbids gaining rights by exec."""
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the wish was known
        os._exit(1)


def warm_up(passes: int = WARM_UP_PASSES) -> None:
    """Before a run: go once through what every run does around its plugin, so that no child is the first to do it.

    The first pass through a piece of Python writes to its code, its caches and the counts of what it touches; after a
    fork each such page is copied, which together costs a run more than the plugin itself.
    """
    begin = wire.Begin("", {"a": "b"}, b"{}", 1, 1 << 10, 100, 100)
    for _ in range(passes):
        mine, theirs = socket.socketpair()
        with mine, theirs:
            theirs.sendall(wire.frame(begin))
            received = receive(mine)
            assert isinstance(received, wire.Begin)
            session = Session(mine, received)
            for request in (b'{"op": "log", "args": {"message": "x"}}', b'{"op": "heartbeat"}', b"{"):
                session.call(request)
            session.call(b'{"op": "progress", "args": {"percent": 1}}')
            session.send(wire.Returned(cut_output(b"ab", 2, 1), 2))
            session.send(guest_error('{"code": "A"}', 1))
            json.dumps(begin.config)
        signal.signal(signal.SIGCHLD, signal.getsignal(signal.SIGCHLD))
        _libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)


def run(compiled: CompiledPlugin) -> NoReturn:
    """Serve the one run that comes over the run channel, and end the process."""
    status = 1
    try:
        channel = socket.socket(fileno=RUN_CHANNEL)
        channel.setblocking(True)
        begin = receive(channel)
        if not isinstance(begin, wire.Begin):
            raise EOFError
        session = Session(channel, begin)
        session.send(_call(compiled, session))
        status = 0
    except (OSError, EOFError):
        pass  # the agent has gone away or closed the run: nobody is left to tell
    except BaseException as error:  # the last line before the process ends: the agent shows it
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201  # stderr is the agent's pipe
    finally:
        os._exit(status)


def receive(channel: socket.socket) -> wire.ToGuest:
    """The agent's next message. Raises EOFError when it has gone."""
    length = int.from_bytes(_exactly(channel, wire.FRAME_HEAD), "big")
    return _from_agent.decode(_exactly(channel, length))


def _exactly(channel: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        chunk = channel.recv(length - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return bytes(data)


def _call(compiled: CompiledPlugin, session: Session) -> wire.Returned | wire.Failed:
    begin = session.begin
    try:
        plugin = extism.Plugin(compiled, config=begin.config)
    except extism.Error as error:
        code = "PLUGIN_OUT_OF_MEMORY" if is_out_of_memory(str(error)) else "PLUGIN_INSTANTIATION_FAILED"
        return wire.Failed(code, wire.cut(str(error), wire.MAX_ERROR_TEXT))
    context = ffi.new_handle(session)
    returned: int = lib.extism_plugin_call_with_host_context(
        plugin.plugin, begin.entry.encode(), begin.parameters, len(begin.parameters), context
    )
    if session.ended is not None:
        return session.ended.failed
    words = lib.extism_plugin_error(plugin.plugin)
    if words != ffi.NULL:
        text = ffi.string(words, wire.MAX_ERROR_TEXT).decode(errors="replace")
        return failure(text, returned)
    if returned != 0:
        return _exit(returned)
    return _output(plugin, begin.output_bytes, session.redactor)


def _exit(code: int) -> wire.Failed:
    return wire.Failed(f"EXIT_{code & 0xFFFFFFFF}", f"the plugin returned {code}", exit_code=code)


def is_out_of_memory(text: str) -> bool:
    """Does this text of the native runtime say that memory ran out?"""
    lowered = text.lower()
    return lowered == "oom" or "out of memory" in lowered or "memory allocation of" in lowered


def failure(text: str, returned: int) -> wire.Failed:
    """What an error text means: the runtime's words for a trap or no memory, else what the guest gave to error_set."""
    if text.startswith(TRAP_TEXT):
        if returned not in (TRAP_CODE, -1):  # WASI's proc_exit unwinds like a trap and keeps its code
            return _exit(returned)
        return wire.Failed("PLUGIN_TRAP", f"the plugin trapped: {text}")
    if is_out_of_memory(text):
        return wire.Failed("PLUGIN_OUT_OF_MEMORY", f"the plugin needs more memory than it may have: {text}")
    return guest_error(text, returned)


def guest_error(text: str, returned: int) -> wire.Failed:
    """What the guest gave to error_set: `{code, message, retryable, retry_after_seconds}`, or words."""
    said = own_words(text)
    return wire.Failed(
        code=said.code or "PLUGIN_ERROR",
        message=said.message or text,
        retryable=bool(said.retryable),
        retry_after_seconds=said.retry_after_seconds,
        exit_code=returned,
    )


def _output(plugin: extism.Plugin, most: int, redactor: Redactor) -> wire.Returned | wire.Failed:
    size: int = lib.extism_plugin_output_length(plugin.plugin)
    if size > 1 << 32:  # more than the address space of a guest: a length that it made up
        return wire.Failed("PLUGIN_OUTPUT_INVALID", "output_set was given a length beyond the plugin's memory")
    data = ffi.buffer(lib.extism_plugin_output_data(plugin.plugin), size)
    if not redactor.idle:
        data = redactor.clean(bytes(data))
        size = len(data)
    return wire.Returned(cut_output(data, size, most), size)


def cut_output(data: Any, size: int, most: int) -> bytes:
    """The bytes, or their first and last half with a marker between, `most` bytes in all. Copies no more than that."""
    if size <= most:
        return bytes(data[0:size])
    width = len(str(size))
    kept = max(most - len(f"\n... {'':{width}} bytes left out ...\n"), 0)
    marker = f"\n... {size - kept:{width}} bytes left out ...\n".encode()
    head, tail = kept - kept // 2, kept // 2
    return (bytes(data[0:head]) + marker + bytes(data[size - tail : size]))[:most]
