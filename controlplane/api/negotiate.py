"""What a caller says of media types, encodings and versions: Accept, Accept-Encoding, Content-Type, etags.

Pure reading of header values. Not here: bodies (`bodies.py`), and what is done with the answers (`rest_front.py`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from controlplane.domain.errors import Invalid, Violation

JSON = "application/json"
NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"
FORM = "application/x-www-form-urlencoded"
LINES = frozenset({NDJSON, "application/ndjson", "application/jsonl", "application/jsonlines"})
# What a page of another site can send without being asked whether it may.
_SIMPLE = frozenset({"", FORM, "multipart/form-data", "text/plain"})
MOST_TAGS = 16

_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?", re.ASCII)
_TAG = re.compile(r'\s*(?:[wW]/)?(?:"([^"]*)"|([^\s",]+))\s*(?:,|$)')
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]{1,127}/[\w!#$&^.+-]{1,127}(?:\s*;[\x20-\x7e]{0,255})?", re.ASCII)


def _weight(text: str | None) -> float:
    """A q-value; what is none counts as 1, since the caller named the type after all."""
    return float(text) if text is not None and _WEIGHT.fullmatch(text) else 1.0


def choose(accept: str, offered: Sequence[str]) -> str | None:
    """The best of what is offered; the first of equals, which is also what is given to those who do not care.

    None where the caller takes none of them.
    """
    if accept in ("", "*/*") or accept == offered[0]:
        return offered[0]
    ranges = [found for one in accept.lower().split(",") if (found := _range(one)) is not None]
    if not ranges:
        return offered[0]
    best, best_weight = None, 0.0
    for kind in offered:
        weight = _weight_of(kind, ranges)
        if weight > best_weight:
            best, best_weight = kind, weight
    return best


def _range(text: str) -> tuple[str, str, float] | None:
    kind, *parameters = text.split(";")
    main, slash, sub = kind.strip().partition("/")
    if not (main and slash and sub):
        return None
    weights = [one.partition("=")[2].strip() for one in parameters if one.partition("=")[0].strip() == "q"]
    return main, sub, _weight(weights[0] if weights else None)


def _weight_of(kind: str, ranges: Sequence[tuple[str, str, float]]) -> float:
    """The weight of the most specific range that covers a type; 0 where none does."""
    main, _, sub = kind.partition("/")
    names = LINES if kind == NDJSON else frozenset({kind})
    found = (-1, 0.0)
    for wanted_main, wanted_sub, weight in ranges:
        if f"{wanted_main}/{wanted_sub}" in names:
            found = max(found, (2, weight))
        elif wanted_main == main and wanted_sub in ("*", sub):
            found = max(found, (1, weight))
        elif wanted_main == "*" and wanted_sub == "*":
            found = max(found, (0, weight))
    return found[1]


def not_acceptable(offered: Sequence[str]) -> Invalid:
    """None of these is what the caller takes."""
    listed = ", ".join(offered)
    return Invalid(
        f"this call answers with {listed}: Accept names none of them",
        reason="NOT_ACCEPTABLE",
        facts={"offered": listed},
    )


# ---------------------------------------------------------------- encodings


def takes_gzip(accept_encoding: str) -> bool:
    """Whether an answer may be compressed."""
    return _encoding_weight(accept_encoding, "gzip") > 0


def refuses_plain(accept_encoding: str) -> bool:
    """Whether an answer may not be left as it is: `identity;q=0`, or `*;q=0` and no word of identity."""
    weights = _encodings(accept_encoding)
    return weights.get("identity", weights.get("*", 1.0)) == 0


def _encoding_weight(accept_encoding: str, name: str) -> float:
    weights = _encodings(accept_encoding)
    return weights.get(name, weights.get("x-" + name, weights.get("*", 0.0)))


def _encodings(accept_encoding: str) -> Mapping[str, float]:
    found: dict[str, float] = {}
    for one in accept_encoding.lower().split(","):
        name, _, parameters = one.partition(";")
        weight = parameters.replace(" ", "").replace("\t", "")
        found.setdefault(name.strip(), _weight(weight[2:] if weight.startswith("q=") else None))
    return found


# ---------------------------------------------------------------- what comes in


def media_type(headers: Mapping[str, str]) -> str:
    """The type of the body, without its parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def check_body_type(headers: Mapping[str, str], *, raw: bool, stream: bool, own_page: bool) -> None:
    """Raise Invalid for a body that is not read here.

    JSON, however it is called; for streams also lines of it; for raw bodies anything. A form is read as JSON, for that
    is what `curl -d` says of everything it sends, but only from somebody who is no page of another site: `own_page` is
    whether that is settled, by the guard or by a credential that no browser adds by itself.
    """
    kind = media_type(headers)
    if kind in _SIMPLE and not own_page:
        raise _unsupported(kind, "which pages of other sites can send too: say application/json")
    if raw:
        return
    if kind not in ("", JSON, FORM) and not kind.endswith("+json") and not (stream and kind in LINES):
        raise _unsupported(kind, f"but {JSON}{f' or {NDJSON}' if stream else ''} is read here")
    charset = _charset(headers.get("content-type", ""))
    if charset not in ("", "utf-8", "utf8", "us-ascii"):
        raise _unsupported(f"{kind}; charset={charset}", "but JSON is UTF-8")


def _charset(content_type: str) -> str:
    found = re.search(r";\s*charset\s*=\s*\"?([^\s\";]*)", content_type, re.IGNORECASE)
    return found[1].lower() if found else ""


def _unsupported(kind: str, why: str) -> Invalid:
    problem = f"is {kind[:64] or 'absent'!r}, {why}"
    return Invalid(
        f"Content-Type: {problem}",
        reason="UNSUPPORTED_MEDIA_TYPE",
        violations=[Violation("Content-Type", problem)],
        facts={"field": "Content-Type"},
    )


def printable_type(kind: str) -> str:
    """A media type that somebody stored, if a header can carry it."""
    return kind if _MEDIA_TYPE.fullmatch(kind) else "application/octet-stream"


# ---------------------------------------------------------------- versions


def tags_of(value: str, header: str) -> tuple[str, ...]:
    """The versions in an If-Match or If-None-Match, without quotes; `*` alone is any. Raises Invalid.

    Weak tags count like strong ones: a version is a version, and proxies weaken the tags of what they compress.
    """
    if value.strip() == "*":
        return ("*",)
    found: list[str] = []
    position = 0
    while position < len(value):
        tag = _TAG.match(value, position)
        if tag is None or len(found) == MOST_TAGS:
            raise Invalid.field(header, f'must be at most {MOST_TAGS} versions such as "3" with commas between, or *')
        found.append(tag[1] if tag[1] is not None else tag[2])
        position = tag.end()
    if not found:
        raise Invalid.field(header, 'must be a version such as "3", or *')
    return tuple(found)


def names_version(tags: Collection[str], etag: str) -> bool:
    """Whether one of these is this version."""
    return "*" in tags or etag.strip('"') in tags
