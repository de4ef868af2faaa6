"""The control plane put together: one place that builds everything, starts it in order and stops it in order.

Start: store and schema, use cases, fronts, loops. Stop: health says NOT_SERVING, agents are told, calls in flight
finish, the committers empty themselves, the loops end, the store is closed. Nothing here decides anything.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog
import uuid_utils
from pawl.settings import Loaded
from pawl.tracing import collector

from controlplane import telemetry
from controlplane.api import access, grpc_front, methods, rest_front
from controlplane.api.agents import AgentService
from controlplane.api.exposition import Exposition
from controlplane.api.groups import TaskGroupService
from controlplane.api.jobs import JobService
from controlplane.api.keys import KeyService
from controlplane.api.link import Link
from controlplane.api.namespaces import NamespaceService
from controlplane.api.pipeline import Pipeline
from controlplane.api.plugins import PluginService
from controlplane.api.schedules import ScheduleService
from controlplane.api.system import SystemService
from controlplane.api.tasks import TaskInstanceService, TaskService
from controlplane.config import RELOADABLE, GrpcSection, Settings
from controlplane.domain.errors import Unavailable
from controlplane.domain.task import Task
from controlplane.engine.actions import Actions
from controlplane.engine.ageing import Aged
from controlplane.engine.agents import Agents
from controlplane.engine.artifacts import Artifacts
from controlplane.engine.backlog import READY_HINT, ROOM_HINT, TIMERS_HINT
from controlplane.engine.context import Clock, Engine, Ids
from controlplane.engine.credentials import LOOK_SECONDS, Credentials
from controlplane.engine.explain import Explain
from controlplane.engine.glances import Glances
from controlplane.engine.groups import HINT as GROUPS_HINT
from controlplane.engine.groups import Groups
from controlplane.engine.instances import Instances
from controlplane.engine.jobs import Jobs
from controlplane.engine.keys import Keys
from controlplane.engine.logs import Logs
from controlplane.engine.namespaces import Namespaces
from controlplane.engine.outputs import Outputs
from controlplane.engine.placing import Placing
from controlplane.engine.plugins import Plugins
from controlplane.engine.reaping import Reaping
from controlplane.engine.replicas import ASKED_HINT
from controlplane.engine.results import Ref, Results
from controlplane.engine.retention import DAY, Kept, Retention
from controlplane.engine.revisions import Revisions
from controlplane.engine.schedules import HINT as SCHEDULES_HINT
from controlplane.engine.schedules import Schedules
from controlplane.engine.sessions import EndStream, Sessions
from controlplane.engine.system import Pulse, System
from controlplane.engine.tasks import Tasks
from controlplane.engine.timers import Timers
from controlplane.engine.upkeep import PERIOD_SECONDS, ClockKeeper, Upkeep, make_partitions, stray_alarm
from controlplane.log_setup import LogLevels
from controlplane.loops.dispatcher import Dispatcher
from controlplane.loops.holder import Holder, Together
from controlplane.loops.rounds import glanced, go_round, held
from controlplane.loops.scheduler import Scheduler
from controlplane.loops.telling import tell_others
from controlplane.store import Store
from controlplane.store.committer import Committer
from controlplane.store.migrations import migrate
from controlplane.version import VERSION

_log = structlog.get_logger("controlplane")

CLOCK_PERIOD_SECONDS = 30.0
HINTED = {TIMERS_HINT: "timers", SCHEDULES_HINT: "scheduler", GROUPS_HINT: "groups"}  # loops with one holder
METRICS = "pawl.v1.SystemService/GetMetrics"  # whoever may call this may read /metrics
JUMP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running control plane answers."""

    http: str
    grpc: str


class NeedsKeyError(Exception):
    """Keys are asked for and there are none: nobody could call. `pawl server init` makes the first one."""


class ControlPlane:
    """One replica. `run` serves until `stop` is called. `authentication`: every call must show a key."""

    def __init__(
        self, settings: Settings, *, authentication: bool = False, origins: Mapping[str, str] | None = None
    ) -> None:
        self.settings = settings
        self._origins = dict(origins or {})
        self._levels = LogLevels(
            settings.logging.level, lambda seconds, then: asyncio.get_running_loop().call_later(seconds, then)
        )
        self._authentication = authentication
        self._stopping = asyncio.Event()
        self._store = Store(
            settings.database_url,
            pool_size=settings.database.pool_size,
            max_lifetime=settings.database.max_lifetime,
        )
        replica, endpoint = replica_id(settings.data_dir), settings.telemetry.otlp_endpoint
        self._tracing = telemetry.Tracing(
            collector(endpoint) if endpoint else None,
            ratio=settings.telemetry.sample_ratio,
            version=VERSION,
            instance=replica,
        )
        clock = Clock()
        self._build(
            Engine(
                self._store,
                clock,
                Ids(clock),
                replica,
                tracing=self._tracing,
                request_ids_kept=round(settings.retention.request_ids_days * DAY),
            )
        )

    def _build(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions = sessions = Sessions()
        engine.replicas.agents = sessions.__len__
        self._revisions = revisions = Revisions()
        self._results = results = Results(engine, revisions)
        self._agents = agents = Agents(engine, sessions, results)
        self._placing = placing = Placing(
            engine, sessions, results, revisions, cap=self.settings.scheduler.max_concurrent_tasks
        )
        self._tasks = tasks = Tasks(engine, self._stop_instance, placing.place_new)
        self._namespaces = namespaces = Namespaces(engine, tasks)
        self._pulses = [Pulse(name) for name in ("dispatcher", "timers", "scheduler", "reaper", "groups")]
        self._pulses += [Pulse("upkeep", PERIOD_SECONDS), Pulse("clock", CLOCK_PERIOD_SECONDS)]
        self._pulses.append(Pulse("ageing", self._ageing_sweep))
        if not self._store.is_sqlite:
            self._pulses.append(Pulse("partitions", CLOCK_PERIOD_SECONDS))
        self._credentials = credentials = Credentials(engine)
        self._keys_pulse = [Pulse("keys")] if self._authentication else []
        self._pulses += self._keys_pulse
        self._system = system = System(engine, sessions, self.committers, self._pulses)
        self._outputs = outputs = Outputs(engine)
        artifacts = Artifacts(engine)
        logs, grpc = Logs(engine), self.settings.grpc
        link = Link(
            engine,
            sessions,
            agents,
            results,
            namespace_exists=namespaces.exists,
            patience=grpc.patience_seconds,
            age=grpc.max_connection_age_seconds,
        )
        actions = Actions(engine, tasks, self._hold)
        self._groups = Groups(engine, tasks, actions)
        explain = Explain(engine, tasks, placing, sessions, agents)
        self._metrics = telemetry.Metrics()
        self._store.measures.register(self._metrics.registry)
        figures = SystemService(
            engine,
            system,
            sessions,
            open_calls=self._metrics.open_calls,
            authentication=self._authentication,
            levels=self._levels,
            settings=lambda: Loaded(self.settings, self._origins).rows(),
        )
        self._exposition = Exposition(figures, self._metrics)
        services: Mapping[str, object] = {
            "pawl.v1.JobService": JobService(Jobs(engine, tasks)),
            "pawl.v1.TaskService": TaskService(engine, tasks, actions, logs, explain, outputs, artifacts),
            "pawl.v1.TaskGroupService": TaskGroupService(engine, self._groups),
            "pawl.v1.TaskInstanceService": TaskInstanceService(Instances(engine), outputs),
            "pawl.v1.ScheduleService": ScheduleService(Schedules(engine)),
            "pawl.v1.AgentService": AgentService(agents, logs, link, outputs, artifacts),
            "pawl.v1.PluginService": PluginService(Plugins(engine)),
            "pawl.v1.NamespaceService": NamespaceService(namespaces),
            "pawl.v1.KeyService": KeyService(Keys(engine, credentials.revoked)),
            "pawl.v1.SystemService": figures,
        }
        self.pipeline = Pipeline(
            methods.table(),
            services,
            namespace_exists=namespaces.exists,
            authenticate=access.by_key(credentials) if self._authentication else access.anonymous,
            metrics=self._metrics,
            tracing=self._tracing,
        )

    def committers(self) -> list[Committer[Any, Any]]:
        """Every group commit."""
        results = self._results
        return [
            self._tasks.creating,
            results.finishing,
            results.starting,
            results.progressing,
            self._agents.beating,
        ]

    def _stop_instance(self, task: Task, why: str) -> None:
        # An agent that is connected elsewhere is told by its own replica, which sweeps for cancellations.
        if task.agent_id is not None and task.instance_id is not None:
            ref = Ref(task.id, task.instance_id, task.token)
            if not self._sessions.stop_named(task.agent_id, task.namespace_id, ref, why):
                self._engine.wakeups.hint(ASKED_HINT)

    def _hold(self, found: Sequence[Task], still: bool) -> None:
        if not self._sessions.hold(found, still):
            self._engine.wakeups.hint(ASKED_HINT)

    def _hint_groups(self, loop: asyncio.AbstractEventLoop, ids: Sequence[str]) -> None:
        """Groups have counted; told on a thread of the store, whose commit stands even if the loop is gone by now."""
        self._hint(loop, GROUPS_HINT, *(f"group:{one}" for one in ids))

    def _hint(self, loop: asyncio.AbstractEventLoop, *keys: str) -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._engine.wakeups.hint, *keys)

    @property
    def running(self) -> int:
        """Instances that the agents connected here run now."""
        return self._system.slots()[1]

    @property
    def calls(self) -> int:
        """Calls in flight, without the agents' streams, which last as long as the agents."""
        return max(0, self._metrics.open_calls() - len(self._sessions))

    def reload(self, loaded: Loaded[Settings]) -> tuple[list[str], list[str]]:
        """Take up what a running server can take up: the keys that changed, and those that wait for a restart."""
        old = {key: value for key, value, _ in Loaded(self.settings, {}).rows()}
        changed = {key for key, value, _ in loaded.rows() if value != old[key]}
        taken = changed & RELOADABLE
        for key in taken:
            section, _, name = key.partition(".")
            value = getattr(getattr(loaded.settings, section), name)
            changed_section = msgspec.structs.replace(getattr(self.settings, section), **{name: value})
            self.settings = msgspec.structs.replace(self.settings, **{section: changed_section})
            self._origins[key] = loaded.origin(key)
        self._levels.configure(self.settings.logging.level)
        self._tracing.ratio = self.settings.telemetry.sample_ratio
        self._placing.cap = self.settings.scheduler.max_concurrent_tasks
        return sorted(taken), sorted(changed - taken)

    def stop(self) -> None:
        """Begin to stop; `run` returns when it is done."""
        self._stopping.set()

    async def run(self, ready: Callable[[Addresses], None]) -> None:
        """Open the store, serve, and stop in order. Raises Unavailable or OSError for what keeps it from serving."""
        with ExitStack() as stack:
            await asyncio.to_thread(self._store.open)
            stack.callback(self._store.close)
            applied = await asyncio.to_thread(migrate, self._store, self._engine.clock.now())
            if applied:
                _log.info("schema migrated", revisions=applied)
            await ClockKeeper(self._engine).steer()
            # Here and not only in the loop: a server that slept for months has no partition for its first task.
            await self._store.write(make_partitions, self._engine.clock.now())
            if self._authentication and not await self._credentials.any_living():
                raise NeedsKeyError(
                    "no key in the database opens anything, so nobody could call: make the first one with"
                    " `pawl server init`, or serve anybody with --insecure"
                )
            await self._agents.adopt()
            self._store.on_groups = partial(self._hint_groups, asyncio.get_running_loop())
            self._engine.backlog.tell = partial(self._hint, asyncio.get_running_loop())
            async with asyncio.TaskGroup() as group:
                committing = [group.create_task(committer.run()) for committer in self.committers()]
                loops = [group.create_task(loop) for loop in self._loops()]
                try:
                    await self._serve(group, ready)
                finally:
                    for loop in loops:
                        loop.cancel()
                    for committer in self.committers():
                        committer.close()
                    await asyncio.gather(*loops, *committing, return_exceptions=True)
                    with suppress(Unavailable):
                        await self._credentials.write_uses()
            await asyncio.to_thread(self._tracing.shutdown)  # may wait a moment for a collector

    async def _serve(self, group: asyncio.TaskGroup, ready: Callable[[Addresses], None]) -> None:
        server = self.settings.server
        http_socket = listen(server.host, server.http_port)
        try:
            front = await grpc_front.serve(
                self.pipeline, _address(server.host, server.grpc_port), limits=_limits(self.settings.grpc)
            )
        except OSError:
            http_socket.close()
            raise
        rest = rest_front.RestFront(
            self.pipeline,
            self.settings.server,
            metrics_text=self._exposition.text,
            socket=http_socket,
            metrics_for=self.pipeline.methods[METRICS] if self._authentication and not server.open_metrics else None,
            guarded=not self._authentication,
        )
        serving = group.create_task(rest.serve())
        port = http_socket.getsockname()[1]
        ready(Addresses(_url(server.host, port), _address(_shown(server.host), front.port)))
        try:
            await self._stopping.wait()
        finally:
            self._system.stopping = True
            await front.not_serving()
            self._sessions.end(EndStream("SHUTTING_DOWN", "the server stops; connect again", 0.5))
            patience = self.settings.server.drain_seconds  # as it is now, which a reload may have changed
            await asyncio.gather(front.stop(patience), rest.stop(patience))
            await serving

    @property
    def _ageing_sweep(self) -> float:
        """How often the ageing loop looks; it says that it lives also where nothing ages."""
        return min(self.settings.scheduler.ageing_seconds or PERIOD_SECONDS, PERIOD_SECONDS)

    def _loops(self) -> list[Any]:
        engine = self._engine
        holder = partial(Holder, engine, identity=engine.replica_id, together=Together())
        pulses = {pulse.name: pulse for pulse in self._pulses}
        tick = self.settings.scheduler.tick_interval
        timers, reaping = Timers(engine, self._revisions), Reaping(engine, self._sessions, self._results)
        upkeep = Upkeep(engine, Retention(engine, self._outputs, kept(self.settings)))
        hinted = {key: holder(name) for key, name in HINTED.items()}
        engine.replicas.kept_here = {key: partial(_holds, one) for key, one in hinted.items()}
        glances, reaper = Glances(engine), holder("reaper")
        scheduler = Scheduler(
            engine,
            self._tasks,
            hinted[SCHEDULES_HINT],
            pulse=pulses["scheduler"],
            tick_seconds=tick,
            glances=glances,
        )
        dispatcher = Dispatcher(self._placing, self._agents, engine.replicas, glances)
        ageing = Aged(engine, self.settings.scheduler.ageing_seconds, self.settings.scheduler.ageing_step)
        return [
            go_round(
                engine, pulses["dispatcher"], dispatcher.turn, hints=(READY_HINT, ROOM_HINT, ASKED_HINT), sweep=tick
            ),
            go_round(
                engine,
                pulses["timers"],
                held(hinted[TIMERS_HINT], timers.fire),
                hints=(TIMERS_HINT,),
                sweep=tick,
                glance=glanced(hinted[TIMERS_HINT], glances, lambda seen: glances.seconds_until(seen.due)),
            ),
            scheduler.run(),
            go_round(
                engine,
                pulses["groups"],
                held(hinted[GROUPS_HINT], self._groups.turn),
                sweep=tick,
                glance=glanced(hinted[GROUPS_HINT], glances, lambda seen: 0.0 if seen.closing else None),
            ),
            go_round(
                engine,
                pulses["reaper"],
                held(reaper, reaping.turn),
                sweep=tick,
                glance=glanced(reaper, glances, reaping.due),
            ),
            go_round(
                engine,
                pulses["upkeep"],
                held(holder("upkeep"), upkeep.turn),
                sweep=PERIOD_SECONDS,
            ),
            go_round(
                engine,
                pulses["ageing"],
                held(holder("ageing"), ageing.turn),
                sweep=self._ageing_sweep,
            ),
            go_round(engine, pulses["clock"], self._clock(pulses.get("partitions")), sweep=CLOCK_PERIOD_SECONDS),
            *(go_round(engine, pulse, self._credentials.look, sweep=LOOK_SECONDS) for pulse in self._keys_pulse),
            *([] if self._store.is_sqlite else [tell_others(engine)]),
        ]

    def _clock(self, partitions: Pulse | None) -> Callable[[], Any]:
        """What every replica looks after for itself: its clock, and whether rows lie where they should."""
        clock = ClockKeeper(self._engine)

        async def turn() -> float | None:
            moved = await clock.steer()
            if abs(moved) > JUMP_SECONDS:
                _log.warning("the clock of the database and of this machine moved apart", seconds=moved)
            if partitions is not None:
                alarm = await stray_alarm(self._engine)
                partitions.beat()
                partitions.error = alarm
            return CLOCK_PERIOD_SECONDS

        return turn


def _holds(holder: Holder) -> bool:
    return holder.holds


def _limits(section: GrpcSection) -> grpc_front.Limits:
    return grpc_front.Limits(
        max_calls=section.max_calls,
        max_connections=section.max_connections,
        patience_seconds=section.patience_seconds,
        keepalive_seconds=section.keepalive_seconds,
        keepalive_timeout_seconds=section.keepalive_timeout_seconds,
        min_ping_interval_seconds=section.min_ping_interval_seconds,
        max_connection_age_seconds=section.max_connection_age_seconds,
        max_connection_age_grace_seconds=section.max_connection_age_grace_seconds,
    )


def kept(settings: Settings) -> Kept:
    """For how long things are kept, as retention takes it."""
    section = settings.retention
    return Kept(
        tasks=section.tasks_days,
        logs=section.logs_days,
        fires=section.fires_days,
        agents=section.agents_days,
        deleted=section.deleted_days,
        uploads=section.uploads_days,
    )


def replica_id(data_dir: Path) -> str:
    """The identity of this replica: made once with its data folder, so that a restart finds its own leases."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = data_dir / "replica-id"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        found = path.read_text(encoding="ascii").strip()
        if found:
            return found
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    with os.fdopen(descriptor, "w") as file:
        made = str(uuid_utils.uuid7())
        file.write(made + "\n")
    return made


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError that names the address when it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise OSError(f"cannot listen on {_address(host, port)} for HTTP: {error.strerror}") from error
    listening.listen(1024)
    return listening


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _shown(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _url(host: str, port: int) -> str:
    return f"http://{_address(_shown(host), port)}"
