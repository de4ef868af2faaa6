"""From an HTTP method and a raw path to a binding: the template language of google/api/http.proto.

Paths are matched before they are percent-decoded, so that an escaped `/` or `:` is data. A `:` in the last segment is
always a verb: `DELETE /tasks/abc:watch` must not delete a task of that name. Templates are checked when the table is
built: a contract that cannot work stops the server from starting. Not here: bodies and query parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from controlplane.api.methods import HttpRule, Kind, Method, is_repeated
from controlplane.domain.errors import Invalid

ANY_VERB = "*"  # of a custom pattern: every HTTP method that has no binding of its own

_SEGMENT = re.compile(r"/(?:\{([A-Za-z_][\w.]*)(?:=([^{}]+))?\}|([^/{}:]+))", re.ASCII)
_VERB = re.compile(r":([^/{}:*]+)$")
_ESCAPED = re.compile(r"%(?:(2[fF])|[0-9a-fA-F]{2})")
_BROKEN = re.compile(r"%(?![0-9a-fA-F]{2})")
_ONE = "[^/]+"
_MORE = f"(?:/{_ONE})*"


@dataclass(frozen=True, slots=True)
class Binding:
    """One way to reach one method. `variables` are (field path, whether it spans several segments)."""

    method: Method
    rule: HttpRule
    pattern: re.Pattern[str]  # of the path without its verb
    variables: tuple[tuple[str, bool], ...]
    verb_suffix: str
    segments: tuple[str, ...]

    @property
    def specificity(self) -> tuple[int, ...]:
        """Literals before `*` before `**`, from the left."""
        return tuple({"*": 1, "**": 2}.get(segment, 0) for segment in self.segments)


@dataclass(frozen=True, slots=True)
class Match:
    """A binding and the values of its variables, decoded."""

    binding: Binding
    variables: tuple[tuple[str, str], ...]


class Router:
    """Finds bindings. Raises ValueError for templates that the grammar does not know, and for two that are one."""

    def __init__(self, methods: Iterable[Method]) -> None:
        self._literal: dict[str, dict[str, Binding]] = {}
        self._patterns: dict[tuple[int, str], list[Binding]] = {}
        self._open: list[Binding] = []
        known: set[tuple[object, ...]] = set()
        for method in methods:
            for rule in method.rules:
                binding = compile_rule(method, rule)
                shape = (rule.verb, binding.segments, binding.verb_suffix)
                if shape in known:
                    raise ValueError(f"{rule.verb} {rule.template} is bound twice")
                known.add(shape)
                self._add(binding)
        for group in (*self._patterns.values(), self._open):
            group.sort(key=lambda binding: binding.specificity)

    def match(self, verb: str, path: str) -> Match | None:
        """The most specific binding for this raw path, or None. Raises Invalid for escapes that make no text."""
        literal = self._literal.get(path)
        if literal is not None and verb in literal:
            return Match(literal[verb], ())
        for wanted in (verb, ANY_VERB):
            for binding, found in self._found(path):
                if binding.rule.verb == wanted:
                    return Match(binding, _values(binding, found))
        return None

    def allowed(self, path: str) -> list[str]:
        """The HTTP methods that this raw path has."""
        verbs = {binding.rule.verb for binding, _ in self._found(path)}
        verbs.update(self._literal.get(path, ()))
        if "GET" in verbs:
            verbs.add("HEAD")
        return sorted(verbs)

    def _found(self, path: str) -> Iterable[tuple[Binding, re.Match[str]]]:
        """Every binding with variables or wildcards that this path fits, the most specific first."""
        head, slash, last = path.rpartition("/")
        bare, colon, suffix = last.rpartition(":")
        if colon:
            if not suffix or ":" in bare:
                return  # neither a verb nor data: a `:` that is data is escaped
            path = head + slash + bare
        verb_suffix = suffix if colon else ""
        candidates: Iterable[Binding] = self._patterns.get((path.count("/"), verb_suffix), ())
        if self._open:
            candidates = sorted((*candidates, *self._open), key=lambda binding: binding.specificity)
        for binding in candidates:
            if binding.verb_suffix == verb_suffix:
                found = binding.pattern.fullmatch(path)
                if found is not None:
                    yield binding, found

    def _add(self, binding: Binding) -> None:
        template = binding.rule.template
        if "**" in binding.segments:
            self._open.append(binding)
        elif "*" in binding.segments or binding.variables or binding.rule.verb == ANY_VERB:
            self._patterns.setdefault((len(binding.segments), binding.verb_suffix), []).append(binding)
        else:
            self._literal.setdefault(template, {})[binding.rule.verb] = binding


def compile_rule(method: Method, rule: HttpRule) -> Binding:
    """A rule with its template as a pattern over raw paths. Raises ValueError."""
    path, verb_suffix = _split_verb(rule.template)
    pattern: list[str] = []
    variables: list[tuple[str, bool]] = []
    segments: list[str] = []
    position = 0
    while position < len(path):
        piece = _SEGMENT.match(path, position)
        if piece is None:
            raise ValueError(f"{rule.template!r} is no path template, from {path[position:]!r} on")
        position = piece.end()
        variable, inner, literal = piece.groups()
        parts = (literal if variable is None else inner or "*").split("/")
        _check_segments(rule.template, parts, at_the_end=position == len(path))
        segments.extend(parts)
        if variable is None:
            pattern.append(_MORE if literal == "**" else f"/{_segment(literal)}")
        else:
            variables.append((variable, len(parts) > 1 or parts == ["**"]))
            pattern.append(_group(parts))
    if not segments:
        raise ValueError(f"{rule.template!r} does not start with /")
    _check_fields(method, rule, [name for name, _ in variables])
    return Binding(method, rule, re.compile("".join(pattern)), tuple(variables), verb_suffix, tuple(segments))


def _split_verb(template: str) -> tuple[str, str]:
    found = _VERB.search(template)
    return (template[: found.start()], found[1]) if found else (template, "")


def _check_segments(template: str, parts: list[str], *, at_the_end: bool) -> None:
    for index, part in enumerate(parts):
        if not part or (part not in ("*", "**") and ("*" in part or ":" in part)):
            raise ValueError(f"{template!r} has a segment that is neither a literal nor a wildcard: {part!r}")
        if part == "**" and not (at_the_end and index == len(parts) - 1):
            raise ValueError(f"{template!r} goes on after **")


def _segment(part: str) -> str:
    return _ONE if part == "*" else re.escape(part)


def _group(parts: list[str]) -> str:
    """`**` matches no segment as well, and then its slash is not there either."""
    if parts == ["**"]:
        return f"(?:/({_ONE}{_MORE}))?"
    head = "/".join(_segment(part) for part in parts if part != "**")
    return f"/({head}{_MORE if parts[-1] == '**' else ''})"


def _check_fields(method: Method, rule: HttpRule, variables: list[str]) -> None:
    """What a rule names exists, and can be what the rule wants of it. Raises ValueError."""
    if method.kind is Kind.BIDI:
        raise ValueError(f"{method.name}: HTTP has no form for two streams at once")
    request: Any = method.input.DESCRIPTOR
    answer: Any = method.output.DESCRIPTOR
    if len(set(variables)) != len(variables):
        raise ValueError(f"{rule.template!r} has a variable twice")
    for path in variables:
        field = _field_at(request, path)
        if field is None or is_repeated(field) or field.message_type is not None:
            raise ValueError(f"{rule.template!r}: {request.full_name} has no single value at {path}")
    if rule.body not in ("", "*") and rule.body not in request.fields_by_name:
        raise ValueError(f"{rule.template!r}: {request.full_name} has no field {rule.body} for a body")
    if rule.response_body and rule.response_body not in answer.fields_by_name:
        raise ValueError(f"{rule.template!r}: {answer.full_name} has no field {rule.response_body} to answer with")


def _field_at(descriptor: Descriptor, path: str) -> FieldDescriptor | None:
    *parents, last = path.split(".")
    for part in parents:
        field = descriptor.fields_by_name.get(part)
        if field is None or field.message_type is None or is_repeated(field):
            return None
        descriptor = field.message_type
    return descriptor.fields_by_name.get(last)


def _values(binding: Binding, found: re.Match[str]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (path, _decode(text or "", path, keep_slash=several))
        for (path, several), text in zip(binding.variables, found.groups(), strict=True)
    )


def _decode(text: str, path: str, *, keep_slash: bool) -> str:
    if "%" not in text:
        return text
    if _BROKEN.search(text):
        raise Invalid.field(path, "holds a % that is no escape")
    if keep_slash:
        text = _ESCAPED.sub(lambda one: one[0].replace("%", "%25") if one[1] else one[0], text)
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid.field(path, "is no UTF-8")


def template_parameters(template: str) -> tuple[str, Mapping[str, str]]:
    """The template as OpenAPI writes it, and the field path of each of its names.

    `{job.id}` becomes `{id}`: paths that differ in such names only are one path to OpenAPI, and many tools cannot read
    a dot in a name.
    """
    found = {path.rpartition(".")[2]: path for path in re.findall(r"\{([^}=]+)(?:=[^}]*)?\}", template)}
    return re.sub(r"\{(?:[^}=]*\.)?([^}=.]+)(?:=[^}]*)?\}", r"{\1}", template), found
