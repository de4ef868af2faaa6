"""Pages: which part of a result a caller wants, and the tokens that say where the next part starts.

Pure. Not here: SQL (`controlplane.store.query`) and the filter itself (`filter.py`).

Where a page starts is a number, an offset or a token, at most one of them; its size is `page_size` or `limit`, at most
one of them. What is out of range is refused and never silently bent: a caller who asks for 5,000 rows and gets 1,000
believes to have seen all. Numbers and offsets reach the first 10,000 rows, since the database walks over all that it
skips; tokens reach everything.

A token holds the sort values of the last row seen. It is bound by a digest to the query it came from (namespace, noun,
filter, order), so that it can neither be damaged nor carried over unnoticed. Rows made or removed meanwhile neither
repeat nor hide others.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest

from controlplane.domain.errors import Invalid, Violation
from controlplane.domain.filter import INT64, AnyOf, Kind, OrderTerm, Scalar, is_storable
from controlplane.domain.ids import is_id

DEFAULT_SIZE = 20
MAX_SIZE = 1_000
REACH = 10_000  # rows that numbers reach, and up to which totals are exact
MAX_TOKEN = 64 * 1024
_DIGEST = 16

Position = tuple[Scalar | None, ...]


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What a caller wants. With a token `offset` is 0 and `number` is 0: nobody knows how many rows lie before."""

    number: int
    size: int
    offset: int = 0
    token: str = ""


def parse_page(
    page: int | None = None,
    page_size: int | None = None,
    limit: int | None = None,
    offset: int | None = None,
    page_token: str = "",
    path: str = "page",
) -> PageRequest:
    """Read a page request. None is "not given"; 0 is a value and refused where it makes no sense."""
    violations = list(_contradictions(page, page_size, limit, offset, page_token, path))
    size, size_name = (limit, "limit") if limit is not None else (page_size, "page_size")
    if size is not None and not 1 <= size <= MAX_SIZE:
        violations.append(Violation(f"{path}.{size_name}", f"must be 1 to {MAX_SIZE:,}, not {size}"))
    if page is not None and page < 1:
        violations.append(Violation(f"{path}.page", f"counts from 1, not {page}"))
    if offset is not None and not 0 <= offset <= REACH:
        violations.append(Violation(f"{path}.offset", f"must be 0 to {REACH:,}: page_token reaches further"))
    size = DEFAULT_SIZE if size is None else size
    if page is not None and page >= 1 and (page - 1) * size >= REACH:
        problem = f"numbers reach the first {REACH:,} rows: page_token reaches further"
        violations.append(Violation(f"{path}.page", problem))
    if violations:
        raise Invalid.fields(violations)
    if page_token:
        return PageRequest(0, size, token=page_token)
    if offset is not None:
        return PageRequest(offset // size + 1, size, offset)
    number = 1 if page is None else page
    return PageRequest(number, size, (number - 1) * size)


def _contradictions(
    page: int | None, page_size: int | None, limit: int | None, offset: int | None, page_token: str, path: str
) -> Sequence[Violation]:
    starts = [name for name, given in (("page", page), ("offset", offset)) if given is not None]
    starts += ["page_token"] if page_token else []
    sizes = [name for name, given in (("page_size", page_size), ("limit", limit)) if given is not None]
    return [
        Violation(f"{path}.{second}", f"cannot be given together with {path}.{names[0]}")
        for names in (starts, sizes)
        for second in names[1:]
    ]


def query_digest(namespace_id: str, noun: str, tree: AnyOf, order: Sequence[OrderTerm]) -> bytes:
    """What a token is bound to. Equal for equal questions, however they were spelt."""
    question = [
        namespace_id,
        noun,
        [[[c.field.name, c.tag, c.operator, c.value] for c in one.conditions] for one in tree.alternatives],
        [[term.field.name, term.descending] for term in order],
    ]
    return blake2b(json.dumps(question).encode(), digest_size=_DIGEST).digest()


def write_token(position: Position, query: bytes, secret: bytes = b"") -> str:
    """The token for "after this position". With a secret it cannot be made by anybody else; replicas share it."""
    body = json.dumps(position, separators=(",", ":")).encode()
    return urlsafe_b64encode(_seal(body, query, secret) + body).rstrip(b"=").decode()


def read_token(token: str, order: Sequence[OrderTerm], query: bytes, secret: bytes = b"") -> Position:
    """The position inside. Raises Invalid (INVALID_PAGE_TOKEN) for a token that is damaged or of another query."""
    try:
        if len(token) > MAX_TOKEN:
            raise ValueError("no token is that long")
        # Strict: the lenient decoder skips foreign characters, so one position would have many tokens.
        sealed = urlsafe_b64decode((token + "=" * (-len(token) % 4)).encode("ascii"))
        if urlsafe_b64encode(sealed).rstrip(b"=").decode() != token:
            raise ValueError("not in the one canonical form")
        seal, body = sealed[:_DIGEST], sealed[_DIGEST:]
        if not compare_digest(seal, _seal(body, query, secret)):
            raise ValueError("the seal does not fit")
        position = tuple(json.loads(body))
        if len(position) != len(order) or not all(_fits(v, t.field.kind) for v, t in zip(position, order, strict=True)):
            raise ValueError("not the values of this order")
    except (ValueError, TypeError, RecursionError):
        problem = "is damaged or belongs to another query: repeat the filter and the order it came from"
        raise Invalid(
            f"page.page_token: {problem}",
            reason="INVALID_PAGE_TOKEN",
            violations=[Violation("page.page_token", problem)],
            facts={"field": "page.page_token"},
        )
    return position


def _seal(body: bytes, query: bytes, secret: bytes) -> bytes:
    return blake2b(query + body, digest_size=_DIGEST, key=secret[:64]).digest()


def _fits(value: object, kind: Kind) -> bool:
    """Whether a sort value has its field's type: without a secret anybody can seal anything."""
    if value is None:
        return True
    match kind:
        case Kind.ID:
            return isinstance(value, str) and is_id(value)
        case Kind.TEXT:
            return isinstance(value, str) and is_storable(value)
        case Kind.BOOL:
            return isinstance(value, bool)
        case Kind.FLOAT:
            return isinstance(value, float | int) and not isinstance(value, bool)
        case Kind.INT | Kind.INSTANT | Kind.ENUM:
            return isinstance(value, int) and not isinstance(value, bool) and value in INT64
        case Kind.TAGS:
            return False
