"""Every known way in which a plugin has harmed the process that ran it, as modules with what must come of each.

Each module that gets as far as running also has the entry `waits`, which asks for heartbeats until it is told to end: a
neighbour, whose run of the same plugin must not notice.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from wasmtime import wat2wasm

from tests.agent.wasm_stage import guest


class End(Enum):
    """What must come of a module."""

    REFUSED = "at the upload, and by an agent that gets it all the same"
    FAILS = "the run fails by itself"
    HANGS = "only an end from outside stops it"
    EITHER = "it may fail, hang, or be seen through: as the corrupted memory has it"


@dataclass(frozen=True, slots=True)
class Hostile:
    """One of them."""

    name: str
    module: bytes
    end: End
    words: str = ""
    """The rule that refuses it, or the code of its failure."""
    neighbour: bool = True
    """Whether the same plugin can also run well: not where the harm is done before the entry is chosen."""

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


WAITS = """
  (func (export "waits")
    (loop $ask (br_if $ask (i64.ne (i64.const 32) (call $length (call $pawl (call $beat)))))))
"""
"""`{"ok":{"cancel_requested":true}}` has 32 bytes, with false it has 33."""
BEAT = '{"op": "heartbeat"}'
POLL = '(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))'
FORGED = """(local $h i64) (local.set $h (call $text))
            (call $store_u64 (i64.sub (local.get $h) (i64.const 12)) (i64.const 0x7fffffff7fffffff))
            (call $store_u64 (i64.sub (local.get $h) (i64.const 8)) (i64.const 0x7fffffff7fffffff)) """


def runs(name: str, code: str, end: End, words: str = "", **texts: str) -> Hostile:
    """One whose `execute_task` does the harm."""
    return Hostile(name, whole(f'(func (export "execute_task") {code})', **texts), end, words)


def whole(body: str, *, imports: str = "", memory: str = "(memory 1)", **texts: str) -> bytes:
    """A module with the neighbour's entry in it."""
    return guest(body + WAITS, imports=imports, memory=memory, beat=BEAT, **texts)


def early(name: str, initialiser: str, code: str, end: End, words: str = "", **texts: str) -> Hostile:
    """One that does the harm before its entry is reached, whichever entry that is."""
    body = f'(func (export "{initialiser}") {code}) (func (export "execute_task"))'
    return Hostile(name, guest(body, **texts), end, words, neighbour=False)


def refused(name: str, module: bytes, words: str) -> Hostile:
    """One that nothing native may see."""
    return Hostile(name, module, End.REFUSED, words, neighbour=False)


def importing(source: str, name: str, kind: str) -> bytes:
    """A module that imports a function that it may not."""
    return guest('(func (export "execute_task"))', imports=f'(import "{source}" "{name}" {kind})')


def _wat(text: str) -> bytes:
    return bytes(wat2wasm(f"(module {text})"))


_TASK = '(func (export "execute_task"))'

HOSTILE: tuple[Hostile, ...] = (
    refused("a loop in the start function", _wat(f"(func $f (loop $l (br $l))) (start $f) {_TASK}"), "START_SECTION"),
    refused(
        "a host call in the start function",
        guest(f"(func $f (drop (call $pawl (i64.const 0)))) (start $f) {_TASK}"),
        "START_SECTION",
    ),
    refused(
        "locals that make the compiler abort",
        _wat(f'(func (export "execute_task") (local {"i64 " * 40_000}))'),
        "FUNCTION_TOO_LARGE",
    ),
    refused(
        "locals that make the compiler slow",
        _wat(f'(func (export "execute_task") (local {"i64 " * 5_000}))'),
        "FUNCTION_TOO_LARGE",
    ),
    refused(
        "code that makes the compiler abort",
        _wat(f'(func (export "execute_task") {"nop " * 700_000})'),
        "FUNCTION_TOO_LARGE",
    ),
    refused(
        "http of the runtime that follows a redirect to a forbidden host",
        importing("extism:host/env", "http_request", "(func (param i64 i64) (result i64))"),
        "IMPORT_REFUSED",
    ),
    refused("modules that import each other", importing("main", "execute_task", "(func)"), "IMPORT_REFUSED"),
    refused(
        "going round the shim",
        importing("extism:host/user", "pawl_call", "(func (param i64) (result i64))"),
        "IMPORT_REFUSED",
    ),
    refused("memory of others", _wat(f'(import "a" "b" (memory 1)) {_TASK}'), "IMPORT_REFUSED"),
    refused("threads", _wat(f"(memory 1 2 shared) {_TASK}"), "MEMORY_REFUSED"),
    refused("a table that begins huge", _wat(f"(table 200000000 funcref) {_TASK}"), "TABLE_REFUSED"),
    refused("a memory that begins huge", _wat(f"(memory 65536) {_TASK}"), "MEMORY_REFUSED"),
    refused("bytes that the runtime reads as a manifest", b'{"wasm": [{"path": "/etc/hostname"}]}', "NOT_WASM"),
    refused("a manifest with a raw pointer", b'{"wasm": [{"data": {"ptr": 4096, "len": 9}}]}', "NOT_WASM"),
    refused("the name of a file", b"/etc/passwd", "NOT_WASM"),
    refused("text that the runtime would translate", b'(module (func (export "execute_task")))', "NOT_WASM"),
    early("a loop in _initialize", "_initialize", "(call $spin)", End.HANGS),
    early("a loop in __wasm_call_ctors", "__wasm_call_ctors", "(call $spin)", End.HANGS),
    early(
        "config_get before the runtime is ready",
        "_initialize",
        "(drop (call $config_get (call $key)))",
        End.FAILS,
        "PLUGIN_CRASH",
        key="key",
    ),
    early("a log line before it", "_initialize", "(call $log_warn (call $key))", End.FAILS, "PLUGIN_CRASH", key="key"),
    early("an op before it", "_initialize", "(drop (call $pawl (call $key)))", End.FAILS, "PLUGIN_CRASH", key="key"),
    runs(
        "a forged output length in the kernels header",
        "(call $put (call $text)) (call $store_u64 (i64.const 57) (i64.const 0x100000000))",
        End.FAILS,
        text="x",
    ),
    runs(
        "an output length of minus one",
        "(call $output_set (call $text) (i64.const -1))",
        End.FAILS,
        "PLUGIN_OUTPUT_INVALID",
        text="x",
    ),
    Hostile(
        "a forged length of a block given to error_set",
        whole(f'(func (export "execute_task") {FORGED} (call $error_set (local.get $h)))', text="boom"),
        End.EITHER,
    ),
    Hostile(
        "a forged length of a block given to an op",
        whole(f'(func (export "execute_task") {FORGED} (drop (call $pawl (local.get $h))))', text="boom"),
        End.EITHER,
    ),
    Hostile(
        "a block of the kernel that points at itself",
        whole(
            """(func (export "execute_task") (local $h i64) (local.set $h (call $text))
               (call $store_u64 (i64.sub (local.get $h) (i64.const 12)) (i64.const 0xfffffff4000000ff))
               (call $store_u64 (i64.sub (local.get $h) (i64.const 8)) (i64.const 0xfffffff4fffffff4))
               (call $error_set (call $text)) (call $spin))""",
            text="boom",
        ),
        End.HANGS,
    ),
    Hostile(
        "a sleep inside the runtime",
        whole(
            """(func (export "execute_task")
                 (i64.store (i32.const 64) (i64.const 1))
                 (i32.store8 (i32.const 72) (i32.const 0))
                 (i32.store (i32.const 80) (i32.const 1))
                 (i64.store (i32.const 88) (i64.const 60000000000))
                 (drop (call $poll (i32.const 64) (i32.const 256) (i32.const 1) (i32.const 512))))""",
            imports=POLL,
            memory='(memory (export "memory") 1)',
        ),
        End.HANGS,
    ),
    runs("a loop without end", "(call $spin)", End.HANGS),
    Hostile(
        "a table that grows without end",
        whole(
            """(table $t 1 funcref) (func (export "execute_task") (result i32)
               (i32.eq (table.grow $t (ref.null func) (i32.const 100000000)) (i32.const -1)))"""
        ),
        End.FAILS,
    ),
    runs("an output as large as all memory", "(call $put (call $alloc (i64.const 2000000000)))", End.FAILS),
    runs(
        "memory that grows without end",
        "(loop $more (drop (memory.grow (i32.const 64))) (br $more))",
        End.FAILS,
        "PLUGIN_OUT_OF_MEMORY",
    ),
    Hostile(
        "recursion without end",
        whole('(func $down (call $down)) (func (export "execute_task") (call $down))'),
        End.FAILS,
        "PLUGIN_TRAP",
    ),
)
