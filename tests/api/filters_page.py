"""Draws the tables of filters in the page on REST anew: `python -m tests.api.filters_page`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from controlplane.api import pipeline
from controlplane.domain.filter import Field, Kind, Op, Queryable
from tests.store.nouns import NOUNS

PAGE = Path(pipeline.__file__).with_name("README.md")
BEGIN, END = "<!-- filters -->\n", "<!-- /filters -->"
PATHS = {
    "job": "/api/v1/jobs",
    "task": "/api/v1/tasks",
    "task group": "/api/v1/task-groups",
    "task instance": "/api/v1/task-instances",
    "schedule": "/api/v1/schedules",
    "agent": "/api/v1/agents",
    "plugin": "/api/v1/plugins",
    "namespace": "/api/v1/namespaces",
    "key": "/api/v1/keys",
}
AS_TASKS = {"/api/v1/dead-letters"}  # a list of tasks
UNFILTERED = {"schedule fire"}  # lists without a filter and with one order
TYPES = {
    Kind.ID: ("id", "a UUID"),
    Kind.TEXT: ("text", "compared by code points, case-sensitively"),
    Kind.INT: ("number", "beyond 2^53 as a string"),
    Kind.BOOL: ("bool", "`true` or `false`"),
    Kind.INSTANT: ("instant", "RFC 3339, such as `2026-01-31T12:00:00Z`"),
    Kind.ENUM: ("enum", "a name, with or without its type, or a number; compared by number"),
    Kind.TAGS: ("tag", 'one tag: `{"tags.customer": {"eq": "42"}}`'),
}


def tables() -> str:
    """Both tables: what each type can be asked, and what each noun has."""
    return "\n".join([*_types(), "", *_nouns()])


def redrawn(page: str) -> str:
    """The page with the tables as they should be."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{tables()}\n{END}{rest.partition(END)[2]}"


def asked() -> Sequence[Queryable]:
    """The nouns whose lists take a filter."""
    return [noun.asked for noun in NOUNS if noun.asked.noun not in UNFILTERED]


def _types() -> Iterator[str]:
    yield "| type | value | operators |"
    yield "|---|---|---|"
    for kind, (name, value) in TYPES.items():
        fields = [field for noun in asked() for field in noun.fields if field.kind is kind]
        operators = {operator for field in fields for operator in field.allowed}
        yield f"| {name} | {value} | {', '.join(f'`{one}`' for one in Op if one in operators)} |"


def _nouns() -> Iterator[str]:
    yield "| list | fields that an index serves | other fields |"
    yield "|---|---|---|"
    for noun in asked():
        served, others = (", ".join(_field(one) for one in noun.fields if one.indexed is is_) for is_ in (True, False))
        paths = [PATHS[noun.noun], *(sorted(AS_TASKS) if noun.noun == "task" else ())]
        yield f"| {', '.join(f'`{path}`' for path in paths)} | {served} | {others} |"


def _field(field: Field) -> str:
    name = f"{field.name}.<key>" if field.kind is Kind.TAGS else field.name
    always = "" if Op.NULL in field.allowed or field.kind is Kind.TAGS else "¹"
    return f"`{name}` {TYPES[field.kind][0]}{always}"


if __name__ == "__main__":
    PAGE.write_text(redrawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
