"""Options of executors that are none of ours: checked against the JSON schema that their agents declare.

Some work for a large value and a hostile schema, therefore never done inside a transaction. A schema stands for itself:
what it refers to elsewhere is not fetched, and its patterns are matched in linear time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from controlplane.domain.errors import Invalid, Violation
from controlplane.domain.job import JobConfig
from controlplane.domain.job_rules import EXECUTORS
from controlplane.engine.context import Engine
from controlplane.store import Connection, agents
from controlplane.store.agents import LIVING, Agent

if TYPE_CHECKING:
    import jsonschema_rs

MAX_SCHEMA_BYTES = 65_536
SHOWN = 10
"""Violations that are told of; a value can be wrong in very many ways."""


def schema_problem(schema: str) -> str | None:
    """What is wrong with the schema that an agent declares; None for a good one, and for none."""
    if not schema:
        return None
    if len(schema.encode()) > MAX_SCHEMA_BYTES:
        return f"has more than the {MAX_SCHEMA_BYTES:,} bytes that are allowed"
    try:
        _validator(schema)
    except ValueError as error:
        return f"is no JSON schema: {str(error).splitlines()[0][:200]}"
    return None


async def check_options(engine: Engine, namespace_id: str, config: JobConfig, path: str = "job.config") -> None:
    """Raises Invalid when no agent of this namespace has the executor, or none of them takes these options."""
    if config.executor in EXECUTORS:
        return

    def read(connection: Connection) -> list[Agent]:
        return [one for one in agents.offering(connection, config.executor) if namespace_id in one.serves]

    offering = await engine.store.read(read)
    if not offering:
        known = ", ".join(EXECUTORS)
        raise Invalid.field(
            f"{path}.executor",
            f"{config.executor!r} is not offered by an agent of namespace {namespace_id!r}; allowed anyway are {known}",
        )
    # What agents of the past declared counts only where there are no others.
    schemas = dict.fromkeys(
        _schema_of(one, config.executor) for one in [one for one in offering if one.status in LIVING] or offering
    )
    problems: list[Violation] = []
    for schema in schemas:
        problems = list(_problems(schema, config.options or "{}", f"{path}.options"))
        if not problems:
            return
    raise Invalid.fields(problems)


def _schema_of(one: Agent, executor: str) -> str:
    return next(str(each.get("options_schema", "")) for each in one.executors if each["name"] == executor)


def _problems(schema: str, options: str, path: str) -> Sequence[Violation]:
    if not schema:
        return ()
    found = []
    for error in _validator(schema).iter_errors(_json(options)):
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.instance_path)
        found.append(Violation(path + where, error.message[:500]))
        if len(found) == SHOWN:
            break
    return found


def _validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    import jsonschema_rs  # 5 MB: only where somebody has an executor of their own

    return jsonschema_rs.Draft202012Validator(
        _json(schema), retriever=_no_other_document, pattern_options=jsonschema_rs.RegexOptions()
    )


def _json(text: str) -> Any:
    return msgspec.json.decode(text)


def _no_other_document(uri: str) -> Any:
    raise ValueError(f"{uri} is another document")
