"""Every executor under every kind of fault, on both databases: one cluster for each, one round for each kind.

What must come of a cell stands in `cells.py`, what it runs in `work.py`. After every round the whole history is asked
whether every promise was kept, and no process is left.
"""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from pawl.v1.task_pb2 import Task

from tests.faults import history
from tests.faults import stage as stages
from tests.faults.cells import CELLS, EXECUTORS, IMPOSSIBLE, KINDS
from tests.faults.cluster import AgentProcess, TooLate, until
from tests.faults.endpoint import FLOOD_BYTES
from tests.faults.stage import GONE_SECONDS, WITHIN_SECONDS, Round, Stage, keeper_of, leftovers, told
from tests.faults.test_frozen_agent import guests_of, zygote_of
from tests.faults.work import OUTPUT_BYTES

CUT_SECONDS = 10.0
"""The fault itself."""
MARKER_BYTES = 64
"""What the word in the middle of a cut output may cost."""
OPEN = (Task.Status.DISPATCHED, Task.Status.RUNNING)


class Place:
    """The stage of a kind of database, and a new one after a round that failed."""

    def __init__(self, folder: Path, fresh_url: Callable[[], str]) -> None:
        self._folder = folder
        self._fresh_url = fresh_url
        self._numbers = itertools.count(1)
        self._stack = AsyncExitStack()
        self._stage: Stage | None = None

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[Stage]:
        if self._stage is None:
            folder = self._folder / str(next(self._numbers))
            folder.mkdir()
            self._stage = await self._stack.enter_async_context(stages.opened(folder, self._fresh_url()))
        try:
            yield self._stage
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        self._stage = None
        await self._stack.aclose()


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=["sqlite", "postgres"])
async def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """On each kind of database."""
    folder = tmp_path_factory.mktemp("matrix")
    with ExitStack() as databases:

        def fresh_url() -> str:
            if request.param == "sqlite":
                return f"sqlite:///{folder}/{os.urandom(4).hex()}.db"
            server = request.getfixturevalue("postgres")
            return str(server.url(databases.enter_context(server.database(request.getfixturevalue("migrated")))))

        place = Place(folder, fresh_url)
        try:
            yield place
        finally:
            await place.close()


def test_the_cells_and_those_that_cannot_be_are_the_whole_product() -> None:
    assert CELLS.keys() | IMPOSSIBLE.keys() == set(itertools.product(EXECUTORS, KINDS))
    assert not CELLS.keys() & IMPOSSIBLE.keys()
    assert all(IMPOSSIBLE.values()), "each has a reason"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("kind", KINDS)
async def test_every_run_ends_as_the_table_says_and_leaves_nothing_behind(place: Place, kind: str) -> None:
    executors = [executor for executor in EXECUTORS if (executor, kind) in CELLS]
    async with place.stage() as stage:
        round = Round(stage, kind, {executor: stage.work(executor, kind) for executor in executors})
        await FAULTS.get(kind, nothing_happens)(round)
        found = {executor: await round.end(executor) for executor in executors}
        expected = {executor: CELLS[executor, kind] for executor in executors}
        assert {executor: end for executor, (end, _) in found.items()} == {
            executor: replace(end, placements=end.codes) for executor, end in expected.items()
        }
        for executor in (one for one in executors if expected[one].status == "SUCCEEDED"):
            output = found[executor][1]
            await (is_cut if kind == "output-flood" else said_all)(round, executor, output)
        await nothing_is_left(*stage.agents)
        assert stage.endpoint.overlaps == [], "two of them ran at once"
        assert history.broken_promises(stage.cluster.database_url) == {}


async def nothing_is_left(*agents: AgentProcess) -> None:
    """No process of a run is alive a moment later, neither itself nor what it started."""
    with suppress(TooLate):
        await until("nothing is left", lambda: not any(map(leftovers, agents)), GONE_SECONDS)
    assert [told(pid) for agent in agents for pid in leftovers(agent)] == []


async def said_all(round: Round, executor: str, output: bytes) -> None:
    """Nothing below the caps is lost: the output, and each line of the log in its place."""
    work = round.works[executor]
    assert output == work.output

    async def all_of_it() -> bool:
        return await round.log(executor) == work.log

    with suppress(TooLate):
        await until(f"the log of {round.cell(executor)} is whole", all_of_it, WITHIN_SECONDS)
    assert await round.log(executor) == work.log


async def is_cut(round: Round, executor: str, output: bytes) -> None:
    """Beyond its cap an output keeps its two ends, and says what it was."""
    last = (await round.instances(executor))[-1]
    assert (last.output_size, last.output_truncated) == (FLOOD_BYTES, True)
    assert OUTPUT_BYTES - MARKER_BYTES < len(output) <= OUTPUT_BYTES
    assert b"bytes left out" in output


# The faults


async def nothing_happens(round: Round) -> None:
    """The work is its own fault."""
    await round.begin()


async def killed_from_outside(round: Round) -> None:
    """A guest knows no signals: it is killed by somebody else, once."""
    endpoint, cell = round.stage.endpoint, round.cell("wasm")
    await round.begin()
    await endpoint.arrived(cell)
    [guest] = guests_of(zygote_of(round.stage.agent.pid))
    endpoint.let_go(cell)
    os.kill(guest, signal.SIGKILL)


async def cancelled_in_the_queue(round: Round) -> None:
    """No agent may have it."""
    await round.begin()
    await round.cancel_all()


async def cancelled_while_starting(round: Round) -> None:
    """Whoever starts programs and plugins stands still, and the connection of a request does not come about: the
    launches have begun and do not end. A function inline is called as soon as its worker hears of it: the worker stands
    still until it is cancelled."""
    agent, worker = (one.pid for one in round.stage.agents)
    frozen = [keeper_of(agent), zygote_of(agent), keeper_of(worker), worker]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        await round.begin()
        await round.all_are(*OPEN)
        await round.cancel_all()
        os.kill(frozen.pop(), signal.SIGCONT)
        await round.all_are(Task.Status.CANCELLED)
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)


async def cancelled_while_running(round: Round) -> None:
    """All of them are in the middle of their work."""
    await round.begin()
    await round.all_held()
    await round.cancel_all()


async def cancelled_while_finishing(round: Round) -> None:
    """They have ended, but the control plane does not know it yet: the wire holds everything back."""
    wire = round.stage.wire
    await round.begin()
    await round.all_held()
    wire.freeze()
    try:
        round.let_go()
        await round.all_in_the_spool()
        await round.all_are(*OPEN)
        await round.cancel_all()
    finally:
        wire.thaw()


async def agent_is_killed(round: Round) -> None:
    """-9, and a worker likewise. What they ran is gone before the same is placed on others."""
    stage = round.stage
    await round.begin()
    await round.all_held()
    for agent in stage.agents:
        agent.kill()
    await until("all of them are gone", lambda: not any(agent.family() for agent in stage.agents), GONE_SECONDS)
    async with stage.others() as others:
        await round.all_held(times=2)
        round.let_go()
        await round.all_are(Task.Status.SUCCEEDED)
        await nothing_is_left(*others)
    for agent in stage.agents:
        agent.start()
    for agent in stage.agents:
        await stage.cluster.online(stage.pawl, agent)


async def link_is_cut(round: Round) -> None:
    """For ten seconds nobody is reached. The work ends meanwhile."""
    wire = round.stage.wire
    await round.begin()
    await round.all_held()
    await wire.take_down()
    round.let_go()
    await asyncio.sleep(CUT_SECONDS)  # the fault itself
    await round.all_in_the_spool()
    await wire.put_up()


async def control_plane_is_killed(round: Round) -> None:
    """-9, and started again when the work has ended."""
    server = round.stage.cluster.server
    await round.begin()
    await round.all_held()
    server.kill()
    round.let_go()
    await round.all_in_the_spool()
    await server.start().serving()


FAULTS: Mapping[str, Callable[[Round], Awaitable[None]]] = {
    "signal": killed_from_outside,
    "cancel-queued": cancelled_in_the_queue,
    "cancel-starting": cancelled_while_starting,
    "cancel-running": cancelled_while_running,
    "cancel-finishing": cancelled_while_finishing,
    "agent-killed": agent_is_killed,
    "link-cut": link_is_cut,
    "control-plane-killed": control_plane_is_killed,
}
