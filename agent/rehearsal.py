"""Runs a plugin on its author's machine as an agent would: the same executor, limits and processes, in a made-up world.

What differs from an agent: secrets and HTTP answers come out of the case, grants as well, and nobody is told. The
keeper, the zygote, the fork and the limits are the real ones, so what passes here passes there.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from msgspec import UnsetType
from pawl.plugin_case import Allowed, Case, Failed, Observed, asked_of
from pawl.wasm import validate

from agent.egress import Egress, EgressError, Reach, Request, Response, Target
from agent.executors.base import Failure, LaunchError, LogStream, Outcome, Payload, Work
from agent.executors.host_calls import Grant, HostCalls
from agent.executors.wasm import WasmExecutor
from agent.keeper import Keeper
from agent.secrets import Secrets
from agent.statedir import open_state_dir

NAMESPACE = "default"


class World(Egress, Secrets):
    """What surrounds the run of a case: grants, secrets and sites that exist in it alone."""

    def __init__(self, asked: Allowed) -> None:
        Egress.__init__(self)
        Secrets.__init__(self, NAMESPACE, {})
        self._asked = asked
        self.enter(Case())

    def enter(self, case: Case) -> None:
        """From here on it is the world of this case. Raises EgressError for a URL that is none."""
        granted = self._asked if isinstance(case.grant, UnsetType) else case.grant
        self._grant = Grant(http=granted.http, secrets=granted.secrets)
        self._case = case
        self._answers = {(one.method, Target.of(one.url).url): one for one in case.http}

    async def find_grant(self, _: str, __: str) -> Grant:
        """What this case grants."""
        return self._grant

    def get(self, namespace_id: str, name: str) -> str | None:
        """A secret of the case."""
        return self._case.secrets.get(name)

    async def fetch(self, request: Request, reach: Reach) -> Response:
        """An answer of the case, after the questions that are asked of a real request. No redirect is followed."""
        request.check()
        target = Target.of(request.url)
        reach.judge(target)
        found = self._answers.get((request.method, target.url))
        if found is None:
            message = f"the case has no answer to {request.method} {target.url}"
            raise EgressError("HTTP_FAILED", message, retryable=True)
        headers = [(name.lower(), value) for name, value in found.headers.items()]
        return Response(found.status, headers, found.content, target.url)


class Ear:
    """The sink: keeps what a run says."""

    def __init__(self) -> None:
        self.said = bytearray()
        self.reports: list[float] = []

    def log(self, stream: LogStream, data: bytes) -> None:
        """Keep it, whichever stream it is of."""
        self.said += data

    def heartbeat(self) -> None:
        """Nobody counts here."""

    def progress(self, percent: float, message: str) -> None:
        """Keep the number."""
        self.reports.append(percent)

    def started(self) -> None:
        """Nobody waits for that."""

    def ended(self) -> None:
        """Nobody waits for that either."""


def run(module: bytes, cases: Sequence[Case]) -> list[Observed]:
    """What comes of each case, in order. Raises ModuleRefused, EgressError (a URL), RuntimeError (no plugins here)."""
    known = validate(module, None)
    metadata = known.metadata.source if known.metadata is not None else {}
    with tempfile.TemporaryDirectory(prefix="pawl-plugin-") as folder:
        return asyncio.run(_all(module, World(asked_of(metadata)), cases, Path(folder)))


async def _all(module: bytes, world: World, cases: Sequence[Case], folder: Path) -> list[Observed]:
    digest = hashlib.sha256(module).hexdigest()

    async def fetch(_: str) -> bytes:
        return module

    state = await asyncio.to_thread(open_state_dir, folder / "state")
    keeper = Keeper(state)
    calls = HostCalls(world.find_grant, secrets=world, egress=world)
    executor = WasmExecutor(keeper, fetch, folder / "wasm", host_calls=calls)
    try:
        await keeper.open()
        await executor.open()
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(calls.serve())
            seen = []
            for number, case in enumerate(cases, 1):
                world.enter(case)
                seen.append(await _one(executor, case, _work(digest, case, number)))
            serving.cancel()
            return seen
    finally:
        await executor.close()
        await keeper.close()
        state.close()


def _work(digest: str, case: Case, number: int) -> Work:
    given = case.input
    return Work(
        namespace_id=NAMESPACE,
        task_id=f"rehearsal-{number}",
        instance_id=f"rehearsal-{number}.1",
        token=1,
        attempt=case.attempt,
        job_name="rehearsal",
        executor="wasm",
        settings={"plugin": digest, "entry": case.entry, "config": case.config},
        environment=case.environment,
        parameters=None if given is None else Payload(*given),
    )


async def _one(executor: WasmExecutor, case: Case, work: Work) -> Observed:
    ear = Ear()
    try:
        running = await executor.launch(work, ear)
    except LaunchError as error:
        return _observed(Outcome(error.failure), ear)
    if case.cancel:
        await running.stop(case.timeout_seconds)
        return _observed(await running.wait(), ear)
    try:
        async with asyncio.timeout(case.timeout_seconds):
            return _observed(await running.wait(), ear)
    except TimeoutError:
        await running.stop(0)
        failure = Failure("TIMEOUT", f"the run took more than {case.timeout_seconds:g} s")
        return _observed(replace(await running.wait(), failure=failure, output=None), ear)


def _observed(outcome: Outcome, ear: Ear) -> Observed:
    output, failure = outcome.output, outcome.failure
    return Observed(
        output=None if output is None else output.data,
        content_type="" if output is None else output.content_type,
        error=None if failure is None else Failed(failure.code, failure.message, failure.retryable),
        log=ear.said.decode(errors="replace"),
        progress=tuple(ear.reports),
        seconds=outcome.usage.wall_seconds,
        peak_memory_bytes=outcome.usage.peak_memory_bytes,
    )
