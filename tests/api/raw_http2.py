"""A client's end of HTTP/2 on which nothing is checked: what no library would send can be sent.

Frames of RFC 9113. Header blocks are written as literals, and read as what a server writes that was told to keep no
table; of indexed fields only those are known that gRPC answers with.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from google.rpc import error_details_pb2, status_pb2

DEADLINE = 10.0
FRAME_BYTES = 16_384
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
# No table of header fields, and binary ones as they are (gRPC's own setting): so there is nothing to be decoded.
PLAINLY = struct.pack(">HIHI", 1, 0, 0xFE03, 1)
STATIC = {8: (":status", "200"), 31: ("content-type", "")}

Pairs = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Frame:
    """One frame."""

    kind: int
    flags: int
    stream: int
    payload: bytes


@dataclass
class Answer:
    """How a call ended: its trailers, or the code of the RST_STREAM that cut it."""

    trailers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    reset: int | None = None

    @property
    def code(self) -> int:
        """gRPC's."""
        return int(self.trailers.get("grpc-status", -1))

    @property
    def reason(self) -> str:
        """Of the ErrorInfo."""
        raw = self.trailers.get("grpc-status-details-bin", "").encode("latin-1")
        info = error_details_pb2.ErrorInfo()
        for one in status_pb2.Status.FromString(raw.removeprefix(b"\0")).details:
            if one.Unpack(info):
                return str(info.reason)
        return ""


class Raw:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._stream = -1
        self.goaway: bytes | None = None

    def send(self, kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> None:
        """One frame, as it is; nothing is waited for."""
        head = struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream)
        self.writer.write(head + payload)

    def open(self, path: str, extra: Pairs = (), *, end: bool = False) -> int:
        """The head of a call; the number of its stream."""
        self._stream += 2
        pairs = {
            b":method": b"POST",
            b":scheme": b"http",
            b":path": path.encode(),
            b":authority": b"localhost",
            b"content-type": b"application/grpc",
            b"te": b"trailers",
        }
        self.head(self._stream, block([*pairs.items(), *extra]), end=end)
        return self._stream

    def head(self, stream: int, raw: bytes, *, end: bool = False) -> None:
        """A block of header fields, in frames that every server takes."""
        pieces = [raw[at : at + FRAME_BYTES] for at in range(0, len(raw), FRAME_BYTES)]
        for number, piece in enumerate(pieces):
            kind = CONTINUATION if number else HEADERS
            flags = (END_HEADERS if number == len(pieces) - 1 else 0) | (END_STREAM if end and not number else 0)
            self.send(kind, flags, stream, piece)

    def message(self, stream: int, raw: bytes = b"", *, compressed: bool = False, end: bool = True) -> None:
        """One message of a call, in frames that every server takes."""
        whole = bytes((compressed,)) + struct.pack(">I", len(raw)) + raw
        pieces = [whole[at : at + FRAME_BYTES] for at in range(0, len(whole), FRAME_BYTES)]
        for number, piece in enumerate(pieces, 1):
            self.send(DATA, END_STREAM if end and number == len(pieces) else 0, stream, piece)

    def window(self, stream: int, size: int) -> None:
        """Say that so many more bytes may come."""
        self.send(WINDOW_UPDATE, 0, stream, struct.pack(">I", size))

    def ping(self) -> None:
        """Ask whether the server lives."""
        self.send(PING, payload=b"01234567")

    def reset(self, stream: int) -> None:
        """Give a call up."""
        self.send(RST_STREAM, 0, stream, struct.pack(">I", 8))

    async def frame(self) -> Frame | None:
        """The next one; None when the connection is over."""
        try:
            head = await self._reader.readexactly(9)
            payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        found = Frame(head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7FFF_FFFF, payload)
        if found.kind == GOAWAY:
            self.goaway = found.payload[8:]
        return found

    async def greeted(self) -> None:
        """Take the server's settings and say so."""
        async with asyncio.timeout(DEADLINE):
            while (one := await self.frame()) is not None:
                if one.kind == SETTINGS and not one.flags & ACK:
                    self.send(SETTINGS, ACK)
                    return

    async def answer(self, stream: int) -> Answer:
        """How a call ends; what belongs to other streams is passed over. Empty when the connection ends first."""
        found = Answer()
        async with asyncio.timeout(DEADLINE):
            while (one := await self.frame()) is not None:
                if one.kind == SETTINGS and not one.flags & ACK:
                    self.send(SETTINGS, ACK)
                if one.stream != stream:
                    continue
                if one.kind == HEADERS:
                    found.trailers |= unblock(one.payload)
                elif one.kind == DATA:
                    found.data += one.payload
                elif one.kind == RST_STREAM:
                    found.reset = int.from_bytes(one.payload, "big")
                    return found
                if one.flags & END_STREAM and one.kind in (HEADERS, DATA):
                    return found
        return found

    async def call(self, path: str, raw: bytes = b"", extra: Pairs = ()) -> Answer:
        """A whole unary call."""
        stream = self.open(path, extra)
        self.message(stream, raw)
        return await self.answer(stream)

    async def over(self) -> bool:
        """Whether the server ends the connection."""
        async with asyncio.timeout(DEADLINE):
            while await self.frame() is not None:
                pass
        return True


@asynccontextmanager
async def connected(port: int, settings: bytes = PLAINLY, *, greeting: bool = True) -> AsyncIterator[Raw]:
    """A connection with its preface sent; after a greeting the server's settings hold on both sides."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    raw = Raw(reader, writer)
    writer.write(PREFACE)
    raw.send(SETTINGS, payload=settings)
    try:
        if greeting:
            await raw.greeted()
        yield raw
    finally:
        writer.transport.abort()


def block(pairs: Pairs) -> bytes:
    """A header block of literals that are in no table."""
    return b"".join(b"\x00" + _text(name) + _text(value) for name, value in pairs)


def unblock(raw: bytes) -> dict[str, str]:
    """And back."""
    found: dict[str, str] = {}
    at = 0
    while at < len(raw):
        first = raw[at]
        if first & 0x80:  # indexed
            index, at = _integer(raw, at, 7)
            name, value = STATIC.get(index, (f"static-{index}", ""))
        elif first & 0xE0 == 0x20:  # the size of the table
            _, at = _integer(raw, at, 5)
            continue
        else:
            index, at = _integer(raw, at, 6 if first & 0x40 else 4)
            name = STATIC.get(index, (f"static-{index}", ""))[0]
            if not index:
                name, at = _read_text(raw, at)
            value, at = _read_text(raw, at)
        found[name] = value
    return found


def _text(value: bytes) -> bytes:
    if len(value) < 127:
        return bytes((len(value),)) + value
    rest, out = len(value) - 127, bytearray(b"\x7f")
    while rest >= 128:
        out.append(rest % 128 + 128)
        rest //= 128
    out.append(rest)
    return bytes(out) + value


def _integer(raw: bytes, at: int, bits: int) -> tuple[int, int]:
    most = (1 << bits) - 1
    value = raw[at] & most
    at += 1
    if value < most:
        return value, at
    shift = 0
    while True:
        value += (raw[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not raw[at - 1] & 0x80:
            return value, at


def _read_text(raw: bytes, at: int) -> tuple[str, int]:
    assert not raw[at] & 0x80, "Huffman codes are not read"
    length, at = _integer(raw, at, 7)
    return raw[at : at + length].decode("latin-1"), at + length
