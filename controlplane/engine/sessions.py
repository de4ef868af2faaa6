"""The agents that are connected to this replica: what they offer, and what is to be told to them.

Memory only, and only this process's. The database is the truth; a session is a place to put messages into. Not here:
the wire (`api/link.py`), which drains a session's outbox into its stream.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct, field

from controlplane.domain.job import JobConfig
from controlplane.domain.matching import Offer
from controlplane.domain.placement import PlacementRules
from controlplane.domain.task import Task
from controlplane.engine.results import Ref

if TYPE_CHECKING:
    from pawl.tracing import Trace

AgentKey = tuple[str, str]  # (home namespace, name)
MAX_WAITING_BYTES = 4 << 20
TOLD_TO_PAUSE = 3  # times
PLACEMENT_BYTES = 1 << 10  # what one weighs beside its parameters, roughly


class Placement(Struct, frozen=True):
    """One placement, as the agent is told. Durations in seconds."""

    ref: Ref
    attempt: int
    namespace_id: str
    job_id: str
    job_name: str
    job_revision: int
    config: JobConfig
    environment: Mapping[str, str]
    parameters: bytes | None
    parameters_type: str | None
    timeout: float
    lease: float
    trace: Trace
    group_id: str = ""
    shard_index: int = 0
    shard_total: int = 0
    grace: float = 0.0
    total_left: float | None = None


def add_units(rules: Iterable[PlacementRules]) -> dict[str, int]:
    """What work with these rules takes up together: slots, and resources by name."""
    total = {"slots": 0}
    for one in rules:
        total["slots"] += one.slots
        for name, count in one.resources.items():
            total[name] = total.get(name, 0) + count
    return total


class AssignWork(Struct, frozen=True):
    """New placements."""

    placements: tuple[Placement, ...]

    @property
    def units(self) -> dict[str, int]:
        """What they take up together."""
        return add_units(one.config.placement for one in self.placements)

    @property
    def size(self) -> int:
        """Bytes, roughly."""
        return sum(len(one.parameters or b"") + PLACEMENT_BYTES for one in self.placements)


class StopWork(Struct, frozen=True):
    """Placements to stop, with the reason for each."""

    refs: tuple[tuple[Ref, str], ...]


class PauseWork(Struct, frozen=True):
    """Placements to hold still."""

    refs: tuple[Ref, ...]


class ResumeWork(Struct, frozen=True):
    """Placements to let go on."""

    refs: tuple[Ref, ...]


class DrainAgent(Struct, frozen=True):
    """Take nothing new."""

    reason: str


class RenewLeases(Struct, frozen=True):
    """All leases hold anew, counted from the sending of this beat."""

    beat: int


class EndStream(Struct, frozen=True):
    """The last message. `reason` is a name of Goodbye.Reason."""

    reason: str
    message: str
    reconnect_after: float = 0.0


ToAgent = AssignWork | StopWork | PauseWork | ResumeWork | DrainAgent | RenewLeases


class Session(Struct):
    """One connected agent. `free` and `free_resources` are what is left of its credits after what was sent to it;
    `running` is in slots.
    """

    key: AgentKey
    session_id: str
    serves: frozenset[str]
    executors: frozenset[str]
    labels: Mapping[str, str]
    slots: int
    generation: int
    functions: frozenset[str] = frozenset()
    resources: Mapping[str, int] = field(default_factory=dict)
    counts_units: bool = True
    version: int = 0
    free: int = 0
    free_resources: dict[str, int] = field(default_factory=dict)
    running: int = 0
    draining: bool = False
    closed: bool = False
    farewell: EndStream | None = None
    outbox: deque[ToAgent] = field(default_factory=deque)
    stopping: set[Ref] = field(default_factory=set)  # what is to be stopped since the outbox was empty
    paused: dict[Ref, int] = field(default_factory=dict)  # what it was told to hold still, and how often
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    beat_at: float = field(default_factory=time.monotonic)  # its last sign of life, or its hello
    said: Mapping[str, float] = field(default_factory=dict)  # the figures in that
    agent: str = ""  # its name in offers, made of the key

    def __post_init__(self) -> None:
        self.agent = "/".join(self.key)

    @property
    def cpu(self) -> float:
        """The share of its processors in use, as it said last."""
        return self.said.get("cpu_fraction", 0.0)

    @property
    def free_units(self) -> dict[str, int]:
        """What of it is free, in slots and resources."""
        return {**self.free_resources, "slots": self.free}

    def offer(self) -> Offer:
        """What it offers to work."""
        return Offer(
            agent=self.agent,
            serves=self.serves,
            executors=self.executors,
            labels=self.labels,
            slots=self.slots,
            free=self.free,
            draining=self.draining,
            functions=self.functions,
            running=self.running,
            resources=self.resources,
            free_resources=self.free_resources,
            counts_units=self.counts_units,
            cpu=self.cpu,
        )

    def take(self, units: Mapping[str, int]) -> None:
        """So much was placed there."""
        self.free -= units["slots"]
        self.running += units["slots"]
        for name, count in units.items():
            if name != "slots":
                self.free_resources[name] = self.free_resources.get(name, 0) - count

    def send(self, message: ToAgent) -> None:
        """Put a message into the outbox; the stream's writer takes it from there.

        What an agent that does not listen has not been told yet grows no longer by being said again: of renewals the
        last one counts, and a placement is stopped once.
        """
        if isinstance(message, RenewLeases):
            for index, waiting in enumerate(self.outbox):
                if isinstance(waiting, RenewLeases):
                    self.outbox[index] = message
                    return
        elif isinstance(message, StopWork):
            if not self.outbox:
                self.stopping.clear()
            new = tuple((ref, why) for ref, why in message.refs if ref not in self.stopping)
            if not new:
                return
            self.stopping.update(ref for ref, _ in new)
            message = StopWork(new)
            if self.outbox and isinstance(last := self.outbox[-1], StopWork):
                self.outbox[-1] = StopWork(last.refs + new)  # many at once are one message, not a window of them
                return
        self.outbox.append(message)
        self.wake.set()

    def pause(self, refs: Iterable[Ref]) -> None:
        """Have placements held still. Said more than once, for the word may have come before the placement itself."""
        known = tuple(ref for ref in refs if self.paused.get(ref, 0) < TOLD_TO_PAUSE)
        if known:
            self.paused.update((ref, self.paused.get(ref, 0) + 1) for ref in known)
            self.send(PauseWork(known))

    def resume(self, refs: Iterable[Ref]) -> None:
        """Let placements go on."""
        known = tuple(refs)
        if known:
            for ref in known:
                self.paused.pop(ref, None)
            self.send(ResumeWork(known))

    @property
    def backed_up(self) -> bool:
        """Whether so much work waits to be told that no more may be placed here."""
        return bool(self.outbox) and (
            sum(one.size for one in self.outbox if isinstance(one, AssignWork)) > MAX_WAITING_BYTES
        )

    def cut(self) -> None:
        """End the stream without a word, for nobody listens; an agent that does opens another one."""
        self.closed = True
        self.wake.set()

    def end(self, message: EndStream) -> None:
        """Say goodbye, before all that waits in the outbox; nothing is placed here any more."""
        self.closed = True
        self.farewell = self.farewell or message
        self.wake.set()


class Traffic(Struct):
    """The figures of the streams since the start."""

    connections: int = 0
    refused: int = 0
    takeovers: int = 0
    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    unacknowledged: int = 0


class Sessions:
    """All sessions of this replica, one per agent."""

    def __init__(self) -> None:
        self._live: dict[AgentKey, Session] = {}
        self._farewell: EndStream | None = None
        self.traffic = Traffic()

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._live.values()))

    def __len__(self) -> int:
        return len(self._live)

    def find(self, key: AgentKey) -> Session | None:
        """The live session of this agent, or None."""
        return self._live.get(key)

    def add(self, session: Session) -> None:
        """Take over from an older stream of the same agent, which is told goodbye."""
        older = self._live.get(session.key)
        if older is not None:
            self.traffic.takeovers += 1
            older.end(EndStream("TAKEN_OVER", "a newer stream of this agent took over"))
        self._live[session.key] = session
        self.traffic.connections += 1
        if self._farewell is not None:
            session.end(self._farewell)

    def end(self, message: EndStream) -> None:
        """Say goodbye to all, and to whoever comes from now on."""
        self._farewell = message
        for session in self:
            session.end(message)

    def remove(self, session: Session) -> bool:
        """Forget it, unless another took over already. Whether it was the live one."""
        session.closed = True
        if self._live.get(session.key) is session:
            del self._live[session.key]
            return True
        return False

    def offers(self) -> list[Offer]:
        """What all of them offer."""
        return [session.offer() for session in self]

    def stop(self, key: AgentKey, refs: Iterable[tuple[Ref, str]]) -> bool:
        """Tell an agent to stop placements; False if it is not connected here."""
        session = self.find(key)
        if session is None:
            return False
        session.send(StopWork(tuple(refs)))
        return True

    def stop_named(self, name: str, namespace_id: str, ref: Ref, why: str) -> bool:
        """Tell whoever of this name serves the namespace: a task knows its agent's name and not its home. One that
        does not have the placement ignores the message. False if none is connected here.
        """
        told = False
        for session in self.named(name, namespace_id):
            session.send(StopWork(((ref, why),)))
            told = True
        return told

    def hold(self, found: Iterable[Task], still: bool) -> bool:
        """Tell the agents that have these tasks to hold them still, or to let them go on; each once for all of its.
        False if one of them is not connected here.
        """
        by_agent: dict[AgentKey, list[Ref]] = {}
        all_here = True
        for one in found:
            assert one.agent_id is not None
            assert one.instance_id is not None
            here = [session.key for session in self.named(one.agent_id, one.namespace_id)]
            all_here = all_here and bool(here)
            for key in here:
                by_agent.setdefault(key, []).append(Ref(one.id, one.instance_id, one.token))
        for key, refs in by_agent.items():
            session = self._live[key]
            if still:
                session.pause(refs)
            else:
                session.resume(refs)
        return all_here

    def named(self, name: str, namespace_id: str) -> Iterator[Session]:
        """Those of this name that serve the namespace."""
        for session in self:
            if session.key[1] == name and namespace_id in session.serves:
                yield session
