"""Agents, their signs of life, and the placements that are open on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection, Row

from controlplane.store import batches, dialect
from controlplane.store.query import Listing
from controlplane.store.tables import agent, artifact, output_upload, requirement, task, task_instance

AgentKey = tuple[str, str]


class AgentStatus(IntEnum):
    """Whether an agent is there."""

    ONLINE = 1
    DRAINING = 2
    DISCONNECTED = 3
    LOST = 4
    STOPPED = 5


# Spelt out, not sent as values: a partial index serves only who says its condition, else every attempt that there ever
# was is read.
_OPEN = task_instance.c.status.in_(sa.bindparam("open", (5, 10), expanding=True, literal_execute=True))
LIVING = (AgentStatus.ONLINE, AgentStatus.DRAINING, AgentStatus.DISCONNECTED)


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as it is known. Instants are microseconds UTC."""

    namespace_id: str
    id: str
    state_id: str
    generation: int
    status: AgentStatus
    drained: bool  # an operator wants nothing new on it, until it is started anew
    labels: Mapping[str, str]
    declared_labels: Mapping[str, str]
    serves: Sequence[str]
    executors: Sequence[Mapping[str, Any]]
    slots: int
    hostname: str
    agent_version: str
    protocol_version: int
    session_id: str
    replica_id: str
    metrics: Mapping[str, float]
    connected_at: int
    last_beat_at: int
    version: int
    created_at: int
    updated_at: int
    resources: Mapping[str, int] = field(default_factory=dict)

    @property
    def key(self) -> AgentKey:
        """(home namespace, name)."""
        return self.namespace_id, self.id


@dataclass(frozen=True, slots=True)
class OpenInstance:
    """A placement without an end, with what its agent last gave as a sign of life."""

    task_id: str
    token: int
    id: str
    status: int
    lease: int
    timeout: int
    started_at: int | None
    cancel_requested: bool
    paused: bool = False
    last_beat_at: int = 0
    agent: AgentKey = ("", "")
    revision: tuple[str, int] = ("", 0)


def of_row(row: Row[Any]) -> Agent:
    """A row of sched_agent."""
    values = dict(row._mapping)
    for name in ("labels", "declared_labels", "serves", "executors", "metrics", "resources"):
        values[name] = msgspec.json.decode(values[name])
    values["status"] = AgentStatus(values["status"])
    return Agent(**{name: values[name] for name in Agent.__dataclass_fields__})


def find(connection: Connection, key: AgentKey, *, lock: bool = False) -> Agent | None:
    """The agent with this name in this namespace, or None."""
    statement = sa.select(agent).where(agent.c.namespace_id == key[0], agent.c.id == key[1])
    row = connection.execute(dialect.for_update(statement) if lock else statement).one_or_none()
    return None if row is None else of_row(row)


def put(connection: Connection, one: Agent) -> None:
    """Insert or replace an agent."""
    values = {name: getattr(one, name) for name in Agent.__dataclass_fields__}
    for name in ("labels", "declared_labels", "serves", "executors", "metrics", "resources"):
        values[name] = msgspec.json.encode(values[name]).decode()
    values["status"] = int(one.status)
    changes = [name for name in values if name not in ("namespace_id", "id")]
    statement = dialect.upsert(connection, agent, (agent.c.namespace_id, agent.c.id), changes)
    connection.execute(statement.values(**values))


def online(connection: Connection) -> list[Agent]:
    """All that are connected and may be given work, of every namespace, by name."""
    statement = sa.select(agent).where(agent.c.status == int(AgentStatus.ONLINE))
    return [of_row(row) for row in connection.execute(statement.order_by(agent.c.namespace_id, agent.c.id))]


def listing(namespace_id: str) -> Listing:
    """A namespace's agents, to be asked for."""
    return Listing(sa.select(agent).where(agent.c.namespace_id == namespace_id), agent.c)


def touched(one: Agent, now: int, **changes: Any) -> Agent:
    """The agent with changes that people see: its version grows."""
    return replace(one, version=one.version + 1, updated_at=now, **changes)


def beat_many(connection: Connection, beats: Sequence[tuple[AgentKey, str, int, Mapping[str, float]]]) -> None:
    """Signs of life: (agent, session, at, metrics). Those of a session that was taken over change nothing."""
    rows = [(at, msgspec.json.encode(said).decode(), session_id, *key) for key, session_id, at, said in beats]
    batches.update_rows(connection, agent, ("session_id", "namespace_id", "id"), ("last_beat_at", "metrics"), rows)


def _open() -> sa.Select[Any]:
    columns = (
        task_instance.c.task_id,
        task_instance.c.token,
        task_instance.c.id,
        task_instance.c.status,
        task_instance.c.lease,
        task_instance.c.timeout,
        task_instance.c.started_at,
        task_instance.c.agent_id,
        task_instance.c.agent_namespace_id,
        task.c.job_id,
        task.c.job_revision,
        task.c.cancel_requested,
        task.c.paused_from,
        agent.c.last_beat_at,
    )
    return (
        sa.select(*columns)
        .join(task, task.c.id == task_instance.c.task_id)
        .join(
            agent,
            sa.and_(agent.c.id == task_instance.c.agent_id, agent.c.namespace_id == task_instance.c.agent_namespace_id),
        )
        .where(_OPEN)
    )


def _open_of(row: Row[Any]) -> OpenInstance:
    return OpenInstance(
        task_id=row.task_id,
        token=row.token,
        id=row.id,
        status=row.status,
        lease=row.lease,
        timeout=row.timeout,
        started_at=row.started_at,
        cancel_requested=row.cancel_requested,
        paused=row.paused_from is not None,
        last_beat_at=row.last_beat_at,
        agent=(row.agent_namespace_id, row.agent_id),
        revision=(row.job_id, row.job_revision),
    )


def open_on(connection: Connection, key: AgentKey) -> list[OpenInstance]:
    """Placements that are open on this agent."""
    statement = _open().where(task_instance.c.agent_namespace_id == key[0], task_instance.c.agent_id == key[1])
    return [_open_of(row) for row in connection.execute(statement)]


_NOW = sa.bindparam("now", type_=sa.BigInteger)
MOST = 1_000  # at once


def _not_arriving() -> Iterator[sa.ColumnElement[bool]]:
    for table in (output_upload, artifact):
        yield ~sa.exists().where(
            table.c.task_id == task_instance.c.task_id,
            table.c.token == task_instance.c.token,
            table.c.touched_at + task_instance.c.lease >= _NOW,
        )


# Made once: while anything runs they are asked every second, and to make them takes longer than to answer them.
_EXPIRED = (
    _open()
    .where(
        # Agents that gave a sign of life just now cannot have an expired lease: the shortest one is three seconds.
        agent.c.last_beat_at < _NOW - 2_000_000,
        agent.c.last_beat_at + task_instance.c.lease < _NOW,
        task_instance.c.created_at + task_instance.c.lease < _NOW,
        task_instance.c.lease < _NOW - sa.bindparam("granted_from", type_=sa.BigInteger),
    )
    .limit(MOST)
)
_ALLOWED = task_instance.c.timeout + task_instance.c.paused + task_instance.c.grace + task_instance.c.lease
_OVERRUNNING = (
    _open()
    .where(
        task_instance.c.status == 10,
        task.c.paused_from.is_(None),
        task_instance.c.started_at + _ALLOWED < _NOW,
        *_not_arriving(),
    )
    .limit(MOST)
)
_BEYOND_TOTAL = (
    _open()
    .where(
        task_instance.c.token == task.c.token,
        task.c.end_by.is_not(None),
        task.c.finished_at.is_(None),
        task.c.end_by < _NOW,
        task.c.end_by + task_instance.c.grace + task_instance.c.lease < _NOW,
        *_not_arriving(),
    )
    .limit(MOST)
)


def expired(connection: Connection, now: int, granted_from: int) -> list[OpenInstance]:
    """Placements whose lease is over. No lease ends before it has run one whole period since `granted_from`, the start
    of the control plane: while that was away nobody could renew. Nor before one since the placement was made: an idle
    agent beats so rarely that a short lease would be over before it has begun.
    """
    return [_open_of(row) for row in connection.execute(_EXPIRED, {"now": now, "granted_from": granted_from})]


def overrunning(connection: Connection, now: int) -> list[OpenInstance]:
    """Running placements that their agent should have ended, grace and all, at least one lease ago. One that is paused
    has the time for which it stood still on top. One whose output or artifacts are on their way has ended: its result
    comes after them.
    """
    return [_open_of(row) for row in connection.execute(_OVERRUNNING, {"now": now})]


def beyond_total(connection: Connection, now: int) -> list[OpenInstance]:
    """The same of those whose task has used up its total time, paused or not."""
    return [_open_of(row) for row in connection.execute(_BEYOND_TOTAL, {"now": now})]


def paused_on(connection: Connection, keys: Iterable[AgentKey]) -> list[OpenInstance]:
    """Placements on these agents that somebody paused."""
    names = {name for _, name in keys}
    if not names:
        return []
    statement = _open().where(
        task.c.paused_from.is_not(None), task.c.agent_id.in_(names), task_instance.c.token == task.c.token
    )
    wanted = set(keys)
    return [found for row in connection.execute(statement) if (found := _open_of(row)).agent in wanted]


def cancelling_on(connection: Connection, keys: Iterable[AgentKey]) -> list[OpenInstance]:
    """Open placements on these agents that somebody asked to cancel."""
    names = {name for _, name in keys}
    if not names:
        return []
    statement = _open().where(task.c.cancel_requested, task.c.status.in_((5, 10)), task.c.agent_id.in_(names))
    wanted = set(keys)
    return [found for row in connection.execute(statement) if (found := _open_of(row)).agent in wanted]


def executors_of(connection: Connection, placed: Mapping[str, int]) -> Iterator[tuple[str, str, str, bool]]:
    """Placements by (task, token): (task, agent, executor, whether that agent says that it can be paused)."""
    if not placed:
        return
    columns = (task_instance.c.task_id, task_instance.c.token, requirement.c.spec, agent.c.id, agent.c.executors)
    here = sa.and_(agent.c.id == task_instance.c.agent_id, agent.c.namespace_id == task_instance.c.agent_namespace_id)
    statement = (
        sa.select(*columns)
        .join(task, task.c.id == task_instance.c.task_id)
        .join(requirement, requirement.c.id == task.c.requirement_id)
        .join(agent, here)
        .where(dialect.one_of(connection, task_instance.c.task_id, list(placed)), task_instance.c.finished_at.is_(None))
    )
    for row in connection.execute(statement):
        if placed[row.task_id] == row.token:
            executor = msgspec.json.decode(row.spec)["executor"]
            known = msgspec.json.decode(row.executors)
            able = any(each["name"] == executor and each.get("can_pause", False) for each in known)
            yield row.task_id, row.id, executor, able


def states_of(connection: Connection, keys: Iterable[AgentKey]) -> dict[AgentKey, Agent]:
    """These agents as they are stored: what another replica changed is seen here."""
    names = {name for _, name in keys}
    wanted = set(keys)
    rows = connection.execute(sa.select(agent).where(agent.c.id.in_(names))) if names else ()
    return {one.key: one for one in map(of_row, rows) if one.key in wanted}


def online_elsewhere(connection: Connection, replica_id: str) -> list[Agent]:
    """Agents that take work on other replicas."""
    statement = sa.select(agent).where(agent.c.status == int(AgentStatus.ONLINE), agent.c.replica_id != replica_id)
    return [of_row(row) for row in connection.execute(statement)]


def silent(connection: Connection, now: int, silence: int, *, lock: bool = False) -> list[Agent]:
    """Living agents without a sign of life for so long. Locked, one that speaks up now is not talked over."""
    statement = sa.select(agent).where(
        agent.c.status.in_([int(one) for one in LIVING]), agent.c.last_beat_at < now - silence
    )
    ordered = statement.order_by(*agent.primary_key)
    return [of_row(row) for row in connection.execute(dialect.for_update(ordered) if lock else ordered)]


def offering(connection: Connection, executor: str) -> list[Agent]:
    """Agents that have this executor, whether they are there or not."""
    named = sa.select(agent).where(agent.c.executors.contains(executor, autoescape=True))
    found = map(of_row, connection.execute(named.order_by(*agent.primary_key)))
    return [one for one in found if any(each["name"] == executor for each in one.executors)]


def of_replica(connection: Connection, replica_id: str) -> list[Agent]:
    """Agents whose stream this replica is said to have, locked."""
    statement = sa.select(agent).where(agent.c.replica_id == replica_id, agent.c.status.in_((1, 2)))
    return [of_row(row) for row in connection.execute(dialect.for_update(statement.order_by(*agent.primary_key)))]


def home_of_instance(connection: Connection, task_id: str, token: int) -> str | None:
    """The home namespace of the agent that a placement is on."""
    statement = sa.select(task_instance.c.agent_namespace_id)
    statement = statement.where(task_instance.c.task_id == task_id, task_instance.c.token == token)
    found: str | None = connection.execute(statement).scalar_one_or_none()
    return found


def delete(connection: Connection, key: AgentKey) -> None:
    """Forget an agent."""
    connection.execute(agent.delete().where(agent.c.namespace_id == key[0], agent.c.id == key[1]))


def running_on(connection: Connection, keys: Iterable[AgentKey]) -> dict[AgentKey, int]:
    """How many placements are open on each of these agents."""
    wanted = set(keys)
    columns = (task_instance.c.agent_namespace_id, task_instance.c.agent_id)
    statement = (
        sa.select(*columns, sa.func.count())
        .where(_OPEN, task_instance.c.agent_id.in_({name for _, name in wanted}))
        .group_by(*columns)
    )
    counts = {(row[0], row[1]): int(row[2]) for row in connection.execute(statement)} if wanted else {}
    return {key: counts.get(key, 0) for key in wanted}
