"""Cases for a plugin: what a run is given, and what is expected of it. JSON in, words about the difference out.

A case runs in a made-up surrounding: the secrets and the HTTP answers stand in it, nothing real is asked. Whoever runs
it (an engine is needed for that) answers with an `Observed`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Protocol

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pawl.payload import JSON
from pawl.wasm import DEFAULT_ENTRY

TEXT: Final = "text/plain; charset=utf-8"
SHOWN: Final = 400
"""How much of a value a difference shows."""


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a made-up site answers to one method and URL; `json` or `body`."""

    url: str
    method: str = "GET"
    status: Annotated[int, Meta(ge=100, le=599)] = 200
    headers: dict[str, str] = {}
    body: str = ""
    json: msgspec.Raw | UnsetType = UNSET

    @property
    def content(self) -> bytes:
        """The bytes of its body."""
        return self.body.encode() if isinstance(self.json, UnsetType) else bytes(self.json)


class Allowed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the plugin is granted; without it: all that its metadata asks for."""

    http: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


class ExpectedError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How it fails; what is not named may be anything."""

    code: str | UnsetType = UNSET
    message: str | UnsetType = UNSET
    """A part of it."""
    retryable: bool | UnsetType = UNSET


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must come of a run; what is not named may be anything, but an error that is not expected."""

    output: msgspec.Raw | UnsetType = UNSET
    """As a value of JSON."""
    text: str | UnsetType = UNSET
    """The output's bytes as text."""
    error: ExpectedError | UnsetType = UNSET
    log: tuple[str, ...] = ()
    """Parts of the log, in this order."""
    progress: tuple[float, ...] | UnsetType = UNSET
    """Percentages reported, all of them."""


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run. `parameters` (JSON), `text` or neither."""

    parameters: msgspec.Raw | UnsetType = UNSET
    text: str | UnsetType = UNSET
    entry: str = DEFAULT_ENTRY
    config: dict[str, str] = {}
    environment: dict[str, str] = {}
    attempt: Annotated[int, Meta(ge=1)] = 1
    timeout_seconds: Annotated[float, Meta(gt=0, le=3600)] = 10.0
    cancel: bool = False
    """Whether it is told to end as soon as it has begun."""
    secrets: dict[str, str] = {}
    http: tuple[Answer, ...] = ()
    grant: Allowed | UnsetType = UNSET
    expect: Expected = Expected()

    @property
    def input(self) -> tuple[bytes, str] | None:
        """The parameters' bytes and their content type."""
        if not isinstance(self.parameters, UnsetType):
            return bytes(self.parameters), JSON
        return None if isinstance(self.text, UnsetType) else (self.text.encode(), TEXT)


class CaseInvalid(ValueError):
    """This is no case; the message names the file and the field."""


class Failed(msgspec.Struct, frozen=True):
    """How a run failed."""

    code: str
    message: str
    retryable: bool


class Observed(msgspec.Struct, frozen=True):
    """What came of a run. `error` None: it succeeded."""

    output: bytes | None
    content_type: str
    error: Failed | None
    log: str
    progress: tuple[float, ...]
    seconds: float
    peak_memory_bytes: int


class Runner(Protocol):
    """Runs cases of one module as an agent would. Registered under the entry point `pawl.plugins`, `run`."""

    def __call__(self, module: bytes, cases: Sequence[Case]) -> Sequence[Observed]: ...


def read(path: Path) -> Case:
    """The case in a file. Raises CaseInvalid."""
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise CaseInvalid(f"{path}: {error.strerror}") from None
    except CaseInvalid as error:
        raise CaseInvalid(f"{path}: {error}") from None


def parse(data: bytes) -> Case:
    """The case in these bytes. Raises CaseInvalid."""
    try:
        case = msgspec.json.decode(data, type=Case)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CaseInvalid(str(error)) from None
    if not isinstance(case.parameters, UnsetType) and not isinstance(case.text, UnsetType):
        raise CaseInvalid("parameters and text: give one of them")
    if not isinstance(case.expect.output, UnsetType) and not isinstance(case.expect.text, UnsetType):
        raise CaseInvalid("expect.output and expect.text: give one of them")
    return case


def differences(expected: Expected, seen: Observed) -> Iterator[str]:
    """What is not as expected, a line each."""
    yield from _of_error(expected.error, seen.error)
    if not isinstance(expected.text, UnsetType) and (seen.output or b"") != expected.text.encode():
        yield f"output: expected {_shown(expected.text)}, got {_shown(_words(seen.output))}"
    if not isinstance(expected.output, UnsetType):
        yield from _of_output(json.loads(bytes(expected.output)), seen.output)
    at = 0
    for part in expected.log:
        found = seen.log.find(part, at)
        if found < 0:
            yield f"log: expected {_shown(part)} in {_shown(seen.log[at:])}"
            return
        at = found + len(part)
    if not isinstance(expected.progress, UnsetType) and seen.progress != expected.progress:
        yield f"progress: expected {list(expected.progress)}, got {list(seen.progress)}"


def _of_error(expected: ExpectedError | UnsetType, seen: Failed | None) -> Iterator[str]:
    if isinstance(expected, UnsetType):
        if seen is not None:
            yield f"failed: {seen.code}: {seen.message}"
        return
    if seen is None:
        yield "error: expected one, and the run succeeded"
        return
    for name in ("code", "retryable"):
        wanted, got = getattr(expected, name), getattr(seen, name)
        if not isinstance(wanted, UnsetType) and wanted != got:
            yield f"error.{name}: expected {_shown(wanted)}, got {_shown(got)} ({seen.message})"
    if not isinstance(expected.message, UnsetType) and expected.message not in seen.message:
        yield f"error.message: expected {_shown(expected.message)} in {_shown(seen.message)}"


def _of_output(expected: Any, output: bytes | None) -> Iterator[str]:
    if output is None:
        yield f"output: expected {_shown(expected)}, there is none"
        return
    try:
        got = json.loads(output)
    except ValueError:
        yield f"output: expected {_shown(expected)}, got what is no JSON: {_shown(_words(output))}"
        return
    if got != expected:
        yield f"output: expected {_shown(expected)}, got {_shown(got)}"


def _words(data: bytes | None) -> str:
    return "" if data is None else data.decode(errors="replace")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def asked_of(metadata: Mapping[str, Any]) -> Allowed:
    """A grant of all that a plugin's metadata asks for."""
    asked = metadata.get("capabilities")
    asked = asked if isinstance(asked, Mapping) else {}
    return Allowed(http=tuple(asked.get("http", ())), secrets=tuple(asked.get("secrets", ())))
