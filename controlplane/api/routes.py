"""From an HTTP method and a raw path to a binding: the template language of google/api/http.proto.

Paths are matched before they are percent-decoded, so that an escaped `/` or `:` is data. A `:` in the last segment is
always a verb: `DELETE /tasks/abc:watch` must not delete a task of that name. Not here: bodies and query parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from controlplane.api.methods import HttpRule, Method
from controlplane.domain.errors import Invalid

_PIECE = re.compile(r"\{([^}=]+)(?:=([^}]*))?\}|([^/{}]+)|/")
_ESCAPED = re.compile(r"%(?:(2[fF])|[0-9a-fA-F]{2})")


@dataclass(frozen=True, slots=True)
class Binding:
    """One way to reach one method. `variables` are (field path, whether it spans several segments)."""

    method: Method
    rule: HttpRule
    pattern: re.Pattern[str]
    variables: tuple[tuple[str, bool], ...]
    verb_suffix: str
    specificity: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """A binding and the values of its variables, decoded."""

    binding: Binding
    variables: tuple[tuple[str, str], ...]


class Router:
    """Finds bindings. Raises ValueError for templates that the grammar does not know."""

    def __init__(self, methods: Iterable[Method]) -> None:
        self._literal: dict[str, dict[str, Binding]] = {}
        self._patterns: dict[tuple[int, str], list[Binding]] = {}
        self._open: list[Binding] = []
        for method in methods:
            for rule in method.rules:
                self._add(compile_rule(method, rule))
        for group in (*self._patterns.values(), self._open):
            group.sort(key=lambda binding: binding.specificity)

    def match(self, verb: str, path: str) -> Match | None:
        """The most specific binding for this raw path, or None. Raises Invalid for escapes that are no UTF-8."""
        literal = self._literal.get(path)
        if literal is not None and verb in literal:
            return Match(literal[verb], ())
        for binding in self._candidates(path):
            if binding.rule.verb == verb:
                found = binding.pattern.fullmatch(path)
                if found is not None:
                    return Match(binding, _values(binding, found))
        return None

    def allowed(self, path: str) -> list[str]:
        """The HTTP methods that this raw path has."""
        verbs = {binding.rule.verb for binding in self._candidates(path) if binding.pattern.fullmatch(path)}
        verbs.update(self._literal.get(path, ()))
        if "GET" in verbs:
            verbs.add("HEAD")
        return sorted(verbs)

    def _candidates(self, path: str) -> Iterable[Binding]:
        last = path.rpartition("/")[2]
        suffix = last.rpartition(":")[2] if ":" in last else ""
        yield from self._patterns.get((path.count("/"), suffix), ())
        for binding in self._open:
            if binding.verb_suffix == suffix:
                yield binding

    def _add(self, binding: Binding) -> None:
        template = binding.rule.template
        if "{" not in template and "*" not in template:
            known = self._literal.setdefault(template, {})
            if binding.rule.verb in known:
                raise ValueError(f"{binding.rule.verb} {template} is bound twice")
            known[binding.rule.verb] = binding
        elif "**" in template:
            self._open.append(binding)
        else:
            segments = re.sub(r"\{([^}=]+)=([^}]*)\}", r"\2", template).count("/")
            self._patterns.setdefault((segments, binding.verb_suffix), []).append(binding)


def compile_rule(method: Method, rule: HttpRule) -> Binding:
    """A rule with its template as a pattern over raw paths. Raises ValueError."""
    path, verb_suffix = _split_verb(rule.template)
    if not path.startswith("/"):
        raise ValueError(f"{rule.template!r} does not start with /")
    pattern: list[str] = []
    variables: list[tuple[str, bool]] = []
    specificity: list[int] = []
    position = 0
    while position < len(path):
        piece = _PIECE.match(path, position)
        if piece is None:
            raise ValueError(f"{rule.template!r} is no path template")
        position = piece.end()
        variable, inner, literal = piece.groups()
        if variable is not None:
            inner = inner or "*"
            variables.append((variable, inner != "*"))
            _append(pattern, f"({_segments(inner)})", inner.startswith("**"))
            specificity.extend(_ranks(inner))
        elif literal is not None:
            _append(pattern, _segments(literal), literal == "**")
            specificity.extend(_ranks(literal))
        else:
            pattern.append("/")
    end = re.escape(f":{verb_suffix}") if verb_suffix else ""
    compiled = re.compile("".join(pattern) + end)
    return Binding(method, rule, compiled, tuple(variables), verb_suffix, tuple(specificity))


def _split_verb(template: str) -> tuple[str, str]:
    head, colon, verb = template.rpartition(":")
    return (head, verb) if colon and "/" not in verb and "}" not in verb else (template, "")


def _append(pattern: list[str], piece: str, any_number: bool) -> None:
    """`**` matches no segment as well, and then its slash is not there either."""
    if any_number and pattern and pattern[-1] == "/":
        pattern[-1] = f"(?:/{piece})?"
    else:
        pattern.append(piece)


def _segments(inner: str) -> str:
    # Segments hold no unescaped `:` in the last place: that would be a verb, and verbs have been split off before.
    shapes = {"*": "[^/:]+", "**": "[^/:]+(?:/[^/:]+)*"}
    return "/".join(shapes.get(segment) or re.escape(segment) for segment in inner.split("/"))


def _ranks(inner: str) -> list[int]:
    return [{"*": 1, "**": 2}.get(segment, 0) for segment in inner.split("/")]


def _values(binding: Binding, found: re.Match[str]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (path, _decode(text or "", path, keep_slash=several))
        for (path, several), text in zip(binding.variables, found.groups(), strict=True)
    )


def _decode(text: str, path: str, *, keep_slash: bool) -> str:
    if "%" not in text:
        return text
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
