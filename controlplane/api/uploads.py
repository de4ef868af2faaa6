"""The messages of a client stream, read from a body as it comes: lines of JSON, one JSON array, or raw bytes.

Lines are taken one by one, each within the cap of a message, and there may be any number of them. An array has to be
there as a whole before its first element is known to be JSON, so all of it has the cap of one message. Path variables
and query parameters are part of every message.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from google.protobuf.message import Message

from controlplane.api import json_text
from controlplane.api.bodies import MAX_BODY, Body, too_large
from controlplane.api.routes import Match
from controlplane.api.transcode import Query, build_request, takes_raw_body
from controlplane.domain.errors import Invalid


async def messages(match: Match, query: Query, body: Body, content_type: str) -> AsyncIterator[Message]:
    """The requests in their order. Raises Invalid with the number of the message that is none."""
    if takes_raw_body(match):
        async for message in _pieces(match, query, body, content_type):
            yield message
        return
    number = 0
    async for text in _texts(body):
        number += 1
        try:
            message = build_request(match, query, text, content_type)
        except Invalid as error:
            raise Invalid(
                f"message {number}: {error.message}",
                reason=error.reason,
                violations=error.violations,
                facts={**error.facts, "message": str(number)},
            )
        yield message


async def _pieces(match: Match, query: Query, body: Body, content_type: str) -> AsyncIterator[Message]:
    """Bytes as they come; the first piece names their type. A body of nothing is one empty piece."""
    sent = False
    async for piece in body.pieces():
        yield build_request(match, query, piece, "" if sent else content_type)
        sent = True
    if not sent:
        yield build_request(match, query, b"", content_type)


async def _texts(body: Body) -> AsyncIterator[bytes]:
    """The JSON of each message: the first character of the body tells an array from lines."""
    kept = bytearray()
    pieces = body.pieces()
    async for piece in pieces:
        if not kept:
            piece = piece.lstrip(b" \t\r\n")
            if not piece:
                continue
        if not kept and piece.startswith(b"["):
            for text in _elements(await _rest(piece, pieces)):
                yield text
            return
        kept += piece
        if b"\n" in piece:
            *lines, kept = kept.split(b"\n")
            for line in lines:
                if len(line) > MAX_BODY:
                    raise too_large("a message", MAX_BODY)
                if line and not line.isspace():
                    yield bytes(line)
        if len(kept) > MAX_BODY:
            raise too_large("a message", MAX_BODY)
    if kept and not kept.isspace():
        yield bytes(kept)


async def _rest(kept: bytes, pieces: AsyncIterator[bytes]) -> bytes:
    parts, size = [kept], len(kept)
    async for piece in pieces:
        parts.append(piece)
        size += len(piece)
        if size > MAX_BODY:
            break
    if size > MAX_BODY:
        raise too_large("the array", MAX_BODY)
    return b"".join(parts)


def _elements(body: bytes) -> Iterator[bytes]:
    """The text of each element, none of them before the array is known to be whole."""
    text = json_text.read_text(body)
    found: list[bytes] = []

    def element(index: int, start: int) -> int:
        _, end = json_text.scan(text, start)
        found.append(text[start:end].encode())
        return end

    json_text.check_end(text, json_text.walk_array(text, 0, element))
    return iter(found)
