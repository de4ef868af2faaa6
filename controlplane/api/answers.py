"""How the answers of one call are printed: which type, which part, which fields, in which case of letters.

Decided before the call is made, so that somebody who can take none of it is told before anything has happened. Not
here: HTTP itself (`rest_front.py`), how a stream is framed (`stream.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor

from controlplane.api.json_out import encode_tree, tree_of, writer_of
from controlplane.api.methods import HTTP_BODY, Kind, is_repeated
from controlplane.api.negotiate import EVENTS, JSON, NDJSON, choose, not_acceptable, printable_type
from controlplane.api.partial import PARAMETER, Mask, prune, read_mask
from controlplane.api.routes import Match
from controlplane.api.status import Failure
from controlplane.api.transcode import Query
from controlplane.domain.errors import Invalid

ONE: Sequence[str] = (JSON,)
MANY: Sequence[str] = (NDJSON, EVENTS, JSON)
_ALT = {"json": JSON, "ndjson": NDJSON, "sse": EVENTS}


class Printer:
    """Prints the answers of one call. `raw` is set where they are bytes and no JSON."""

    def __init__(self, match: Match, query: Query, accept: str, *, camel: bool) -> None:
        self._camel = camel
        self._part = match.binding.rule.response_body
        output: Any = match.binding.method.output.DESCRIPTOR
        printed: Descriptor | None = output
        if self._part:
            field = output.fields_by_name[self._part]
            is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
            printed = None if is_map else field.message_type
            self.raw = printed is not None and printed.full_name == HTTP_BODY and not is_repeated(field)
        else:
            self.raw = output.full_name == HTTP_BODY
        self.media_type = self._type(match.binding.method.kind is Kind.SERVER_STREAM, query.alt, accept)
        self._mask = self._read_mask(query.fields, printed)

    def _type(self, stream: bool, alt: str | None, accept: str) -> str:
        if self.raw:
            if alt is not None:
                raise Invalid.field("$alt", "this call answers with bytes, which have one form")
            return ""
        offered = MANY if stream else ONE
        if alt is None:
            chosen = choose(accept, offered)
            if chosen is None:
                raise not_acceptable(offered)
            return chosen
        named = _ALT.get(alt)
        if named is None or named not in offered:
            names = ", ".join(name for name, kind in _ALT.items() if kind in offered)
            raise Invalid.field("$alt", f"must be {names} here, not {alt[:64]!r}")
        return named

    def _read_mask(self, fields: str | None, printed: Descriptor | None) -> Mask | None:
        if fields is None:
            return None
        if self.raw or printed is None:
            raise Invalid.field(PARAMETER, "this call answers with something that has no fields")
        return read_mask(fields, printed, camel=self._camel)

    def encode(self, message: Any) -> bytes:
        """One answer as JSON."""
        if self._part:
            tree = writer_of(message.DESCRIPTOR, camel=self._camel).part(message, self._part)
        else:
            tree = tree_of(message, camel=self._camel)
        return encode_tree(prune(tree, self._mask))

    def file(self, message: Any) -> tuple[str, bytes]:
        """One answer as its bytes, with their type."""
        found = getattr(message, self._part) if self._part else message
        return printable_type(found.content_type), found.data


def error_body(failure: Failure, *, camel: bool) -> bytes:
    """An error as every answer of this front writes it."""
    status = tree_of(failure.status(), camel=camel)
    error = {"code": failure.http, "status": failure.code.name, "message": failure.message}
    return encode_tree({"error": {**error, "details": status["details"]}})
