"""Files that say what there should be: jobs, schedules and namespaces, in YAML or JSON, and what to do to get there.

A document is a resource as the REST API takes it, and a `kind`. What a document says is made true; what it leaves out
keeps its value, so that files and people can share it. A field is reset by writing that (`args: []`, `timeout: null`).
Everything but `Applier` is pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml
from google.protobuf.message import Message

from pawl.client import Client
from pawl.errors import NotFound
from pawl.protojson import NotThisMessage, field_of, read, to_value
from pawl.v1.access_pb2 import Namespace
from pawl.v1.job_pb2 import Job
from pawl.v1.schedule_pb2 import Schedule, ScheduleKind

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor

KINDS: Final[Mapping[str, type[Message]]] = {"Namespace": Namespace, "Job": Job, "Schedule": Schedule}
"""In the order in which they need each other."""
IDENTITY: Final = frozenset({"id", "name", "namespace_id"})
MISSING: Final = object()


class BadManifest(ValueError):
    """A document is wrong; the message says which one and where."""


@dataclass(frozen=True, slots=True)
class Document:
    """What there should be: a resource, and which of its fields the file speaks of, as dotted paths."""

    kind: str
    name: str
    wanted: Any
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A field that is not as it should be."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Step:
    """What one document needs: to be created, to be updated (which fields), or nothing."""

    document: Document
    action: str
    changes: tuple[Change, ...] = ()
    result: Any = field(default=None, compare=False)


def documents(text: str | bytes, source: str) -> list[Document]:
    """The documents of a file, in the order in which they can be applied. Raises BadManifest."""
    try:
        raw = [one for one in yaml.load_all(text, Loader=_Loader) if one is not None]  # a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadManifest(f"{source}: not YAML or JSON: {' '.join(str(error).split())}") from None
    items = [item for one in raw for item in (one if isinstance(one, list) else [one])]
    if not items:
        raise BadManifest(f"{source}: there is nothing in it")
    found = [_document(one, f"{source}, document {number}") for number, one in enumerate(items, 1)]
    return sorted(found, key=lambda one: list(KINDS).index(one.kind))


class _Loader(yaml.SafeLoader):
    """YAML with JSON's values: an instant stays the text that it is."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _document(raw: Any, place: str) -> Document:
    if not isinstance(raw, Mapping):
        raise BadManifest(f"{place}: must be an object with kind and fields")
    given = dict(raw)
    named = str(given.pop("kind", None) or "").lower()
    kind = next((one for one in KINDS if one.lower() == named), None)
    if not named:
        raise BadManifest(f"{place}: kind is missing: add a line `kind: {_likely(given)}` (or {_others(given)})")
    if kind is None:
        raise BadManifest(f"{place}: kind must be one of {', '.join(KINDS)}, not {raw.get('kind')!r}")
    try:
        wanted: Any = read(given, KINDS[kind])
    except NotThisMessage as error:
        raise BadManifest(f"{place}, {kind}: {error}") from None
    name = wanted.id if kind == "Namespace" else wanted.name
    if not name:
        raise BadManifest(f"{place}, {kind}: {'id' if kind == 'Namespace' else 'name'}: must be given")
    descriptor: Any = wanted.DESCRIPTOR
    paths = [path for path in _paths(given, descriptor, "") if path not in IDENTITY]
    if isinstance(wanted, Schedule):
        paths += _schedule_kind(wanted)
    return Document(kind, name, wanted, tuple(paths))


def _likely(given: Mapping[str, Any]) -> str:
    """What a body without a kind most probably is: the one kind that has all its fields, else a job."""
    descriptors: dict[str, Any] = {kind: message.DESCRIPTOR for kind, message in KINDS.items()}
    fits = [kind for kind, one in descriptors.items() if all(field_of(one, str(key)) for key in given)]
    return fits[0] if len(fits) == 1 else "Job"


def _others(given: Mapping[str, Any]) -> str:
    likely = _likely(given)
    return " or ".join(kind for kind in KINDS if kind != likely)


def _schedule_kind(wanted: Schedule) -> list[str]:
    """A schedule's own kind follows from its times: in a file, `kind` says that it is a schedule."""
    if wanted.cron_expression:
        wanted.kind = ScheduleKind.Kind.CRON
    elif wanted.HasField("interval_seconds"):
        wanted.kind = ScheduleKind.Kind.INTERVAL
    return ["kind"] if wanted.kind else []


def _paths(given: Mapping[str, Any], descriptor: Descriptor, prefix: str) -> Iterator[str]:
    """The fields that a document speaks of, down to the settings that are changed one by one."""
    for name, value in given.items():
        found = field_of(descriptor, name)
        assert found is not None, "read() has refused unknown fields"
        path = f"{prefix}{found.name}"
        if _is_group(found) and isinstance(value, Mapping):
            yield from _paths(value, _message_of(found), f"{path}.")
        else:
            yield path


def _is_group(found: FieldDescriptor) -> bool:
    kind: Any = found.message_type
    if kind is None or found.is_repeated:
        return False
    return bool(kind.full_name.startswith("pawl.v1.") and kind.name != "Payload")


def _message_of(found: FieldDescriptor) -> Descriptor:
    kind: Any = found.message_type
    return kind  # type: ignore[no-any-return] # the stubs mix two classes of descriptors


def compare(document: Document, current: Message) -> Step:
    """What has to change so that the current resource is as the document says."""
    before, after = to_value(current), to_value(_with_defaults(document.wanted))
    changes = [Change(path, _at(before, path), _at(after, path)) for path in document.paths]
    if document.kind == "Schedule":
        changes = [one for one in changes if not _same_job(one, before)]
    differing = tuple(one for one in changes if not _same(one.before, one.after))
    return Step(document, "update" if differing else "unchanged", differing)


def _with_defaults(wanted: Message) -> Message:
    """The same with what the server fills in where a list is compared as a whole: the rules of a job's placement."""
    if not isinstance(wanted, Job):
        return wanted
    filled = Job()
    filled.CopyFrom(wanted)
    rules = filled.config.placement
    for rule in (*rules.required, *rules.preferred):
        rule.op = rule.op or rule.EQ
    for rule in rules.preferred:
        rule.weight = rule.weight if rule.HasField("weight") else 1
    return filled


def _same_job(change: Change, before: Mapping[str, Any]) -> bool:
    """A schedule names its job by name or id; answers print the id."""
    return change.path == "job_id" and change.after in (before["job_id"], before["job_name"])


def _same(before: Any, after: Any) -> bool:
    if before is MISSING or after is MISSING:
        return before is after
    return bool(before == after)


def _at(tree: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(tree, Mapping) or name not in tree:
            return MISSING
        tree = tree[name]
    return tree


class Applier:
    """Makes documents true, one after the other. `dry_run` finds out and changes nothing."""

    def __init__(self, client: Client, *, dry_run: bool = False) -> None:
        self._client = client
        self._dry_run = dry_run

    async def plan(self, document: Document) -> tuple[Step, Any]:
        """What a document needs, and the resource as it is (None: there is none)."""
        try:
            current = await self._service(document.kind).get(document.name)
        except NotFound as error:
            if error.reason == "NAMESPACE_NOT_FOUND" and document.kind != "Namespace" and not self._dry_run:
                raise
            after = to_value(document.wanted)
            changes = [Change(path, MISSING, _at(after, path)) for path in document.paths]
            return Step(document, "create", tuple(one for one in changes if one.after is not MISSING)), None
        return compare(document, current), current

    async def apply(self, document: Document) -> Step:
        """Make one document true."""
        step, current = await self.plan(document)
        if self._dry_run or step.action == "unchanged":
            return Step(document, step.action, step.changes, current)
        service = self._service(document.kind)
        if current is None:
            return Step(document, step.action, step.changes, await service.create(document.wanted))
        wanted = type(document.wanted)()
        wanted.CopyFrom(document.wanted)
        wanted.id = current.id
        # The version that was compared: who changed it in between is not overwritten unseen.
        mask = _with_rivals([one.path for one in step.changes])
        made = await service.update(wanted, mask, etag=str(current.version))
        return Step(document, step.action, step.changes, made)

    async def apply_all(self, wanted: Iterable[Document]) -> list[Step]:
        """Make all documents true, in order."""
        return [await self.apply(one) for one in wanted]

    def _service(self, kind: str) -> Any:
        return {
            "Namespace": self._client.namespaces,
            "Job": self._client.jobs,
            "Schedule": self._client.schedules,
        }[kind]


def _with_rivals(paths: list[str]) -> list[str]:
    """A schedule that changes its kind loses the settings of the old one: they may not stand beside the new."""
    if "kind" in paths:
        return [*paths, *(one for one in ("cron_expression", "interval_seconds") if one not in paths)]
    return paths
