"""A script in the room that an engine's module keeps for it: a plugin in JavaScript, made without a compiler.

The engine exports the address `pawl_script` as a constant: four bytes of length, little endian, then the text. One more
data segment fills it when the module is instantiated. So the digest of the plugin covers its script.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pawl.wasm import Reader, sections, unsigned_leb

EXPORT: Final = "pawl_script"
ROOM_BYTES: Final = (1 << 20) - 1
"""Of the engine's room, less the zero behind the text that its parser wants."""
_GLOBALS, _EXPORTS, _DATA, _DATA_COUNT = 6, 7, 11, 12
_I32_CONST, _END, _GLOBAL_KIND = 0x41, 0x0B, 3


class ScriptTooLarge(ValueError):
    """The script does not fit into the engine."""


@dataclass(frozen=True, slots=True)
class _Section:
    number: int
    content: bytes


def with_script(engine: bytes, script: bytes) -> bytes:
    """The engine with this script. Raises ScriptTooLarge, or ValueError for a module that is no engine."""
    if len(script) > ROOM_BYTES:
        raise ScriptTooLarge(f"{len(script)} bytes; at most {ROOM_BYTES} are taken")
    parts = [_Section(number, content) for number, content in sections(engine)]
    address = _address(parts)
    segment = b"\0" + bytes([_I32_CONST]) + _signed_leb(address) + bytes([_END])
    text = len(script).to_bytes(4, "little") + script
    segment += unsigned_leb(len(text)) + text
    result = engine[:8]
    for part in parts:
        content = part.content
        if part.number == _DATA:
            reader = Reader(content, 0, len(content))
            count = reader.unsigned()
            content = unsigned_leb(count + 1) + content[reader.at :] + segment
        elif part.number == _DATA_COUNT:
            content = unsigned_leb(Reader(content, 0, len(content)).unsigned() + 1)
        result += bytes([part.number]) + unsigned_leb(len(content)) + content
    return result


def _address(parts: list[_Section]) -> int:
    exports = next((part.content for part in parts if part.number == _EXPORTS), b"\0")
    constants = next((part.content for part in parts if part.number == _GLOBALS), b"\0")
    reader = Reader(exports, 0, len(exports))
    for _ in range(reader.unsigned()):
        name, kind, index = reader.name(), reader.byte(), reader.unsigned()
        if (name, kind) == (EXPORT, _GLOBAL_KIND):
            return _constant(constants, index)
    raise ValueError(f"the module exports no address {EXPORT!r}: it is no engine for scripts")


def _constant(content: bytes, wanted: int) -> int:
    """The value of a global that is an i32 constant; globals are not imported by what Pawl takes."""
    reader = Reader(content, 0, len(content))
    for index in range(reader.unsigned()):
        reader.byte(), reader.byte()  # its type, and whether it changes
        opcode = reader.byte()
        if opcode != _I32_CONST:
            raise ValueError("a global of the engine is no i32 constant")
        value = _signed(reader)
        reader.byte()
        if index == wanted:
            return value
    raise ValueError(f"the address {EXPORT!r} is no global")


def _signed(reader: Reader) -> int:
    value = shift = 0
    while True:
        byte = reader.byte()
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value - (1 << shift) if byte & 0x40 else value


def _signed_leb(value: int) -> bytes:
    result = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        if (value == 0 and not byte & 0x40) or (value == -1 and byte & 0x40):
            return bytes([*result, byte])
        result.append(byte | 0x80)
