"""WebAssembly modules as Pawl takes them: what may be uploaded, and the metadata a plugin carries.

One rule in one place: the control plane asks it at the upload, an agent asks it again before native code sees the
bytes, and `pawl plugin` asks it on the author's machine. Pure Python over the bytes: nothing is compiled or run, so a
hostile module can cost no more than one walk over its sections.

It is not a full WebAssembly validator: whether the code inside the functions is well-typed is the compiler's business
(in a throw-away process of the agent). What stands here is the shape that a compiler must not be asked to survive: too
much code in one function, start functions (they run before any deadline holds), foreign imports, huge tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from pawl.plugin_metadata import METADATA_SECTION, Metadata, MetadataInvalid, encode_metadata, parse_metadata

DEFAULT_ENTRY: Final = "execute_task"
PAGE_BYTES: Final = 65536

MAX_MODULE_BYTES: Final = 32 << 20
MAX_BODY_BYTES: Final = 256 << 10
"""Of one function. A body of 700 KB makes the compiler ask for 26 GB; the largest seen in real modules is 100 KB."""
MAX_LOCALS: Final = 2000
"""Of one function, for the same reason; the largest seen in real modules is 952."""
MAX_FUNCTIONS: Final = 100_000
MAX_LOCAL_GROUPS: Final = 1_000_000
"""Of the whole module: with the counts below it bounds what a walk costs (about a second)."""
MAX_TYPES: Final = 10_000
MAX_IMPORTS: Final = 1000
MAX_EXPORTS: Final = 10_000
MAX_TABLES: Final = 16
MAX_TABLE_ELEMENTS: Final = 100_000
MAX_MEMORY_PAGES: Final = 16_384
MAX_CUSTOM_BYTES: Final = 1 << 20
MAX_LISTED: Final = 8
"""How many offenders an error names."""


class Reason(Enum):
    """Why a module is refused. The values are stable: clients may branch on them."""

    NOT_WASM = "NOT_WASM"
    COMPONENT = "COMPONENT"
    TOO_LARGE = "TOO_LARGE"
    MALFORMED = "MALFORMED"
    START_SECTION = "START_SECTION"
    IMPORT_REFUSED = "IMPORT_REFUSED"
    ENTRY_MISSING = "ENTRY_MISSING"
    ENTRY_TYPE = "ENTRY_TYPE"
    MEMORY_REFUSED = "MEMORY_REFUSED"
    TABLE_REFUSED = "TABLE_REFUSED"
    FUNCTION_TOO_LARGE = "FUNCTION_TOO_LARGE"
    UNSUPPORTED_FEATURE = "UNSUPPORTED_FEATURE"
    METADATA_INVALID = "METADATA_INVALID"


class ModuleRefused(ValueError):
    """Pawl does not take this module; `reason` is stable, the message says what to change."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True, slots=True)
class FunctionType:
    """Parameters and results by name: `i32`, `i64`, `f32`, `f64`, `v128`, `ref`."""

    parameters: tuple[str, ...]
    results: tuple[str, ...]

    def __str__(self) -> str:
        return f"({', '.join(self.parameters)}) -> ({', '.join(self.results)})"


@dataclass(frozen=True, slots=True)
class Module:
    """What the validator learnt about a module it accepts."""

    size: int
    imports: tuple[str, ...]
    exports: Mapping[str, FunctionType]
    wasi: bool
    memory_pages: int
    metadata: Metadata | None

    @property
    def entries(self) -> tuple[str, ...]:
        """The exported functions that a task can call, besides the ones that run by themselves before it."""
        callable_ = (name for name, kind in self.exports.items() if _is_entry(kind))
        return tuple(sorted(name for name in callable_ if name not in _INITIALISERS))

    def check_entry(self, name: str) -> None:
        """Refuse `name` unless it is an exported function that a task can call."""
        kind = self.exports.get(name)
        if kind is None:
            known = ", ".join(sorted(self.exports)[:MAX_LISTED]) or "none"
            raise ModuleRefused(
                Reason.ENTRY_MISSING, f"the module exports no function {name!r}; functions exported: {known}"
            )
        if not _is_entry(kind):
            raise ModuleRefused(Reason.ENTRY_TYPE, f"{name!r} is {kind}; a task calls () -> () or () -> (i32)")


_INITIALISERS: Final = ("_initialize", "__wasm_call_ctors")


def _is_entry(kind: FunctionType) -> bool:
    return not kind.parameters and kind.results in ((), ("i32",))


_I32, _I64 = "i32", "i64"
_TAKES_HANDLE: Final = FunctionType((_I64,), ())
_HANDLE_TO_I64: Final = FunctionType((_I64,), (_I64,))
_GIVES_I64: Final = FunctionType((), (_I64,))

ALLOWED_IMPORTS: Final[Mapping[tuple[str, str], FunctionType]] = {
    ("pawl", "call"): _HANDLE_TO_I64,
    **{
        ("extism:host/env", name): kind
        for name, kind in {
            "alloc": _HANDLE_TO_I64,
            "free": _TAKES_HANDLE,
            "length": _HANDLE_TO_I64,
            "length_unsafe": _HANDLE_TO_I64,
            "load_u8": FunctionType((_I64,), (_I32,)),
            "load_u64": _HANDLE_TO_I64,
            "store_u8": FunctionType((_I64, _I32), ()),
            "store_u64": FunctionType((_I64, _I64), ()),
            "input_length": _GIVES_I64,
            "input_offset": _GIVES_I64,
            "input_load_u8": FunctionType((_I64,), (_I32,)),
            "input_load_u64": _HANDLE_TO_I64,
            "output_set": FunctionType((_I64, _I64), ()),
            "error_set": _TAKES_HANDLE,
            "config_get": _HANDLE_TO_I64,
            "var_get": _HANDLE_TO_I64,
            "var_set": FunctionType((_I64, _I64), ()),
            "log_trace": _TAKES_HANDLE,
            "log_debug": _TAKES_HANDLE,
            "log_info": _TAKES_HANDLE,
            "log_warn": _TAKES_HANDLE,
            "log_error": _TAKES_HANDLE,
            "get_log_level": FunctionType((), (_I32,)),
        }.items()
    },
}
"""Every function a plugin may import, with its type, besides those of WASI."""

WASI_MODULE: Final = "wasi_snapshot_preview1"
"""For stateless plugins: no preopened folders, no environment, no arguments."""

_VALUE_TYPES: Final = {0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128", 0x70: "ref", 0x6F: "ref"}
_SECTION_ORDER: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 13: 6, 6: 7, 7: 8, 8: 9, 9: 10, 12: 11, 10: 12, 11: 13}
"""Place of each section id; the tag section (13) and the data count (12) stand where their numbers do not say."""
_CUSTOM: Final = 0
_TABLE: Final = 4


def _malformed(message: str) -> ModuleRefused:
    return ModuleRefused(Reason.MALFORMED, f"malformed module: {message}")


class Reader:
    """A cursor over a part of the module. Every step checks its bounds, so a lying length ends in an error."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self.data = data
        self.at = start
        self.end = end

    @property
    def left(self) -> int:
        return self.end - self.at

    def byte(self) -> int:
        if self.at >= self.end:
            raise _malformed(f"ends inside a value at byte {self.at}")
        value = self.data[self.at]
        self.at += 1
        return value

    def unsigned(self, bits: int = 32) -> int:
        """An unsigned LEB128 number."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift >= bits:
                raise _malformed(f"a number is too long at byte {self.at}")
        if value >> bits:
            raise _malformed(f"a number is too large at byte {self.at}")
        return value

    def part(self, length: int) -> Reader:
        """The next `length` bytes as a reader of their own; this one moves behind them."""
        if length > self.left:
            raise _malformed(f"a length points beyond the end at byte {self.at}")
        start, self.at = self.at, self.at + length
        return Reader(self.data, start, self.at)

    def bytes(self, length: int) -> bytes:
        part = self.part(length)
        return self.data[part.at : part.end]

    def name(self) -> str:
        try:
            return self.bytes(self.unsigned()).decode()
        except UnicodeDecodeError:
            raise _malformed(f"a name is not UTF-8 at byte {self.at}") from None


@dataclass(slots=True)
class _Found:
    """What the walk has seen so far."""

    types: list[FunctionType] = field(default_factory=list)
    imports: list[tuple[str, str, int]] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    exported: dict[str, int] = field(default_factory=dict)
    tables: int = 0
    memories: int = 0
    memory_pages: int = 0
    bodies: int = 0
    local_groups: int = 0
    custom_bytes: int = 0
    metadata: bytes | None = None


def validate(module: bytes, entry: str | None = DEFAULT_ENTRY) -> Module:
    """What `module` is; ModuleRefused if Pawl does not take it. `entry=None` asks for no particular export."""
    found = _walk(module)
    imports = _check_imports(found)
    exports: dict[str, FunctionType] = {}
    for name, index in found.exported.items():
        exports[name] = _function_type(found, index)
    if found.bodies != len(found.functions):
        raise _malformed(f"{len(found.functions)} functions are declared and {found.bodies} bodies follow")
    metadata = _metadata(found)
    wasi = any(source == WASI_MODULE for source, _, _ in found.imports)
    accepted = Module(len(module), imports, exports, wasi, found.memory_pages, metadata)
    if entry is not None:
        accepted.check_entry(entry)
    if metadata is not None:
        _check_described_entries(accepted, metadata)
    return accepted


def _walk(module: bytes) -> _Found:
    if len(module) > MAX_MODULE_BYTES:
        raise ModuleRefused(
            Reason.TOO_LARGE, f"the module has {len(module)} bytes; at most {MAX_MODULE_BYTES} are taken"
        )
    if module[:4] != b"\0asm":
        raise ModuleRefused(Reason.NOT_WASM, "not a WebAssembly module: it does not begin with the bytes 00 61 73 6d")
    if module[4:8] == b"\x0d\0\x01\0":
        raise ModuleRefused(
            Reason.COMPONENT,
            "a WebAssembly component, not a core module: build for wasm32-unknown-unknown or wasm32-wasip1",
        )
    if module[4:8] != b"\x01\0\0\0":
        raise ModuleRefused(Reason.NOT_WASM, f"WebAssembly version {module[4:8].hex()} is not known; 1 is")
    reader, found, last = Reader(module, 8, len(module)), _Found(), 0
    while reader.left:
        section = reader.byte()
        content = reader.part(reader.unsigned())
        if section != _CUSTOM:
            place = _SECTION_ORDER.get(section)
            if place is None:
                raise _malformed(f"section {section} is not known")
            if place <= last:
                raise _malformed(f"section {section} stands twice or in the wrong place")
            last = place
        read = _SECTIONS.get(section)
        if read is not None:
            read(content, found)
            if content.left:
                raise _malformed(f"section {section} is longer than its content")
    return found


def _read_custom(reader: Reader, found: _Found) -> None:
    found.custom_bytes += reader.left
    if found.custom_bytes > MAX_CUSTOM_BYTES:
        raise ModuleRefused(
            Reason.TOO_LARGE,
            f"custom sections take more than {MAX_CUSTOM_BYTES} bytes; strip the debug information",
        )
    name, content = reader.name(), reader.bytes(reader.left)
    if name == METADATA_SECTION:
        if found.metadata is not None:
            raise ModuleRefused(Reason.METADATA_INVALID, f"the section {METADATA_SECTION} stands twice")
        found.metadata = content


def _read_types(reader: Reader, found: _Found) -> None:
    count = reader.unsigned()
    if count > MAX_TYPES:
        raise ModuleRefused(Reason.TOO_LARGE, f"{count} types; at most {MAX_TYPES} are taken")
    for _ in range(count):
        form = reader.byte()
        if form != 0x60:
            raise ModuleRefused(
                Reason.UNSUPPORTED_FEATURE, f"type form 0x{form:02x}: modules that use the GC proposal are not taken"
            )
        parameters = tuple(_value_type(reader) for _ in range(_bounded(reader, 1000)))
        found.types.append(FunctionType(parameters, tuple(_value_type(reader) for _ in range(_bounded(reader, 1000)))))


def _bounded(reader: Reader, most: int) -> int:
    count = reader.unsigned()
    if count > most:
        raise _malformed(f"a list of {count} values, at most {most} are taken")
    return count


def _value_type(reader: Reader) -> str:
    code = reader.byte()
    if code in (0x63, 0x64):  # a reference with its heap type written out
        reader.unsigned(33)
        return "ref"
    name = _VALUE_TYPES.get(code)
    if name is None:
        raise ModuleRefused(Reason.UNSUPPORTED_FEATURE, f"value type 0x{code:02x} is not taken")
    return name


def _read_imports(reader: Reader, found: _Found) -> None:
    for _ in range(_bounded(reader, MAX_IMPORTS)):
        source, name, kind = reader.name(), reader.name(), reader.byte()
        if kind != 0:
            what = {1: "table", 2: "memory", 3: "global", 4: "tag"}.get(kind, f"kind {kind}")
            raise ModuleRefused(
                Reason.IMPORT_REFUSED, f"imports the {what} {source}::{name}; a plugin may import functions only"
            )
        found.imports.append((source, name, reader.unsigned()))


def _read_functions(reader: Reader, found: _Found) -> None:
    count = reader.unsigned()
    if count > MAX_FUNCTIONS:
        raise ModuleRefused(Reason.TOO_LARGE, f"{count} functions; at most {MAX_FUNCTIONS} are taken")
    found.functions = [reader.unsigned() for _ in range(count)]


def _limits(reader: Reader, what: Reason, noun: str) -> int:
    """The initial size out of a limits field; refuses the forms that are shared, 64-bit or of another page size."""
    flags = reader.byte()
    for bit, feature in ((2, "shared"), (4, "64-bit"), (8, "of a custom page size")):
        if flags & bit:
            raise ModuleRefused(what, f"the {noun} is {feature}, which is not taken")
    if flags > 1:
        raise _malformed(f"limits with flags 0x{flags:02x}")
    initial = reader.unsigned()
    if flags & 1 and reader.unsigned() < initial:
        raise _malformed(f"the {noun} is larger than its own maximum")
    return initial


def _read_tables(reader: Reader, found: _Found) -> None:
    count = reader.unsigned()
    if count > MAX_TABLES:
        raise ModuleRefused(Reason.TABLE_REFUSED, f"{count} tables; at most {MAX_TABLES} are taken")
    for _ in range(count):
        if reader.left and reader.data[reader.at] == 0x40:
            raise ModuleRefused(Reason.UNSUPPORTED_FEATURE, "a table with an initial value is not taken")
        _value_type(reader)
        found.tables += _limits(reader, Reason.TABLE_REFUSED, "table")
    if found.tables > MAX_TABLE_ELEMENTS:
        raise ModuleRefused(
            Reason.TABLE_REFUSED, f"tables of {found.tables} elements; at most {MAX_TABLE_ELEMENTS} are taken"
        )


def _read_memories(reader: Reader, found: _Found) -> None:
    found.memories = reader.unsigned()
    if found.memories > 1:
        raise ModuleRefused(Reason.MEMORY_REFUSED, f"{found.memories} memories; at most one is taken")
    if found.memories:
        found.memory_pages = _limits(reader, Reason.MEMORY_REFUSED, "memory")
    if found.memory_pages > MAX_MEMORY_PAGES:
        raise ModuleRefused(
            Reason.MEMORY_REFUSED,
            f"the memory begins with {found.memory_pages} pages of 64 KiB; at most {MAX_MEMORY_PAGES} are taken",
        )


def _read_exports(reader: Reader, found: _Found) -> None:
    names: set[str] = set()
    for _ in range(_bounded(reader, MAX_EXPORTS)):
        name, kind, index = reader.name(), reader.byte(), reader.unsigned()
        if name in names:
            raise _malformed(f"exports {name!r} twice")
        names.add(name)
        if kind == 0:
            found.exported[name] = index


def _refuse_start(_: Reader, __: _Found) -> None:
    raise ModuleRefused(
        Reason.START_SECTION,
        "the module has a start section: that code would run before any limit holds. Export it as `_initialize` "
        "instead (AssemblyScript: --exportStart _initialize)",
    )


def _read_code(reader: Reader, found: _Found) -> None:
    found.bodies = reader.unsigned()
    first = len(found.imports)
    for index in range(found.bodies):
        size = reader.unsigned()
        if size > MAX_BODY_BYTES:
            raise ModuleRefused(
                Reason.FUNCTION_TOO_LARGE,
                f"function {first + index} has {size} bytes of code; at most {MAX_BODY_BYTES} are taken",
            )
        body, local = reader.part(size), 0
        groups = body.unsigned()
        found.local_groups += groups
        for _ in range(groups if found.local_groups <= MAX_LOCAL_GROUPS else 0):
            local += body.unsigned()
            if local > MAX_LOCALS:
                raise ModuleRefused(
                    Reason.FUNCTION_TOO_LARGE,
                    f"function {first + index} has more than {MAX_LOCALS} local variables",
                )
            _value_type(body)
    if found.local_groups > MAX_LOCAL_GROUPS:
        raise ModuleRefused(Reason.TOO_LARGE, f"more than {MAX_LOCAL_GROUPS} groups of local variables")


_SECTIONS: Final[Mapping[int, Callable[[Reader, _Found], None]]] = {
    _CUSTOM: _read_custom,
    1: _read_types,
    2: _read_imports,
    3: _read_functions,
    _TABLE: _read_tables,
    5: _read_memories,
    7: _read_exports,
    8: _refuse_start,
    10: _read_code,
}
"""The sections that are read; globals, elements, data and tags are left to the compiler."""


def _type_at(found: _Found, index: int) -> FunctionType:
    if index >= len(found.types):
        raise _malformed(f"type {index} does not exist")
    return found.types[index]


def _function_type(found: _Found, index: int) -> FunctionType:
    if index < len(found.imports):
        return _type_at(found, found.imports[index][2])
    own = index - len(found.imports)
    if own >= len(found.functions):
        raise _malformed(f"function {index} does not exist")
    return _type_at(found, found.functions[own])


def _check_imports(found: _Found) -> tuple[str, ...]:
    refused: list[str] = []
    for source, name, index in found.imports:
        kind = _type_at(found, index)
        if source == WASI_MODULE:
            continue
        wanted = ALLOWED_IMPORTS.get((source, name))
        if wanted is None:
            refused.append(f"{source}::{name}")
        elif wanted != kind:
            raise ModuleRefused(Reason.IMPORT_REFUSED, f"imports {source}::{name} as {kind}; it is {wanted}")
    if refused:
        more = f" and {len(refused) - MAX_LISTED} more" if len(refused) > MAX_LISTED else ""
        raise ModuleRefused(
            Reason.IMPORT_REFUSED, f"imports that a plugin may not use: {', '.join(refused[:MAX_LISTED])}{more}"
        )
    return tuple(f"{source}::{name}" for source, name, _ in found.imports)


def _metadata(found: _Found) -> Metadata | None:
    if found.metadata is None:
        return None
    try:
        return parse_metadata(found.metadata)
    except MetadataInvalid as error:
        raise ModuleRefused(Reason.METADATA_INVALID, str(error)) from None


def _check_described_entries(module: Module, metadata: Metadata) -> None:
    for entry in metadata.entries:
        module.check_entry(entry.name)
        if entry.durable and module.wasi:
            raise ModuleRefused(
                Reason.IMPORT_REFUSED,
                f"{entry.name!r} is durable, and the module imports {WASI_MODULE}: its clock and chance cannot be "
                "replayed",
            )


def metadata_of(module: bytes) -> Metadata | None:
    """What a module says about itself, or None if it says nothing. Refuses what `validate` refuses on the way."""
    return _metadata(_walk(module))


def with_metadata(module: bytes, metadata: Mapping[str, Any]) -> bytes:
    """The module with this metadata as its section, in place of any it had. The digest changes with it."""
    try:
        encoded = encode_metadata(metadata)
    except MetadataInvalid as error:
        raise ModuleRefused(Reason.METADATA_INVALID, str(error)) from None
    _walk(module)
    name = METADATA_SECTION.encode()
    section = unsigned_leb(len(name)) + name + encoded
    return _without_metadata(module) + bytes([_CUSTOM]) + unsigned_leb(len(section)) + section


def with_table_limit(module: bytes, most: int) -> bytes:
    """The module with a maximum on each of its tables, so that none grows beyond `most` elements.

    Refuses a module whose tables begin larger than that. The module must be one that `validate` takes.
    """
    kept, reader = [module[:8]], Reader(module, 8, len(module))
    while reader.left:
        start, section = reader.at, reader.byte()
        content = reader.part(reader.unsigned())
        if section == _TABLE:
            tables = _limited_tables(content, most)
            kept.append(bytes([_TABLE]) + unsigned_leb(len(tables)) + tables)
        else:
            kept.append(module[start : reader.at])
    return b"".join(kept)


def _limited_tables(reader: Reader, most: int) -> bytes:
    count = reader.unsigned()
    tables = bytearray(unsigned_leb(count))
    for _ in range(count):
        start = reader.at
        _value_type(reader)
        tables += reader.data[start : reader.at]
        has_maximum, initial = reader.byte() & 1, reader.unsigned()
        maximum = reader.unsigned() if has_maximum else most
        if initial > most:
            raise ModuleRefused(
                Reason.TABLE_REFUSED, f"a table begins with {initial} elements; this plugin may have {most}"
            )
        tables += b"\x01" + unsigned_leb(initial) + unsigned_leb(min(maximum, most))
    return bytes(tables)


def _without_metadata(module: bytes) -> bytes:
    kept, reader = [module[:8]], Reader(module, 8, len(module))
    while reader.left:
        start, section = reader.at, reader.byte()
        content = reader.part(reader.unsigned())
        if section != _CUSTOM or content.name() != METADATA_SECTION:
            kept.append(module[start : reader.at])
    return b"".join(kept)


def sections(module: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of each section of a module that `validate` takes."""
    reader = Reader(module, 8, len(module))
    while reader.left:
        number = reader.byte()
        yield number, reader.bytes(reader.unsigned())


def unsigned_leb(value: int) -> bytes:
    """An unsigned LEB128 number."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
