"""The agent's end of the stream against a scripted control plane, with a peer that only takes notes."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from pawl.channel import CHANNEL_OPTIONS
from pawl.link import Deleted, Link, Refused, Result, TakenOver, boot_clock
from pawl.v1 import agent_pb2, task_pb2

from tests.agent.scripted import (
    DEADLINE,
    ScriptedControlPlane,
    acks,
    assign,
    begins,
    cancel,
    cuts,
    does,
    drain,
    goodbye,
    hears,
    number_of,
    opens,
    reconcile,
    ref,
    says,
    says_numbered,
    until,
    welcome,
    work,
)


def result(number: int, data: bytes = b"") -> Result:
    item = agent_pb2.Finished.Item(instance=ref(number), status=task_pb2.Task.SUCCEEDED)
    item.output.data = data
    return Result(item, boot_clock())


def progress(number: int, percent: float) -> agent_pb2.ProgressReports.Item:
    return agent_pb2.ProgressReports.Item(instance=ref(number), progress=task_pb2.Progress(percent=percent))


class Notes:
    """A peer that writes down what it is told."""

    def __init__(self) -> None:
        self.waiting: dict[int, Result] = {}
        self.assigned_numbers: list[int] = []
        self.cancelled_numbers: list[int] = []
        self.held_numbers: list[int] = []
        self.acknowledged_numbers: list[int] = []
        self.renewals: list[float] = []
        self.streams = 0
        self.cuts = 0
        self.drains: list[str] = []

    def hello(self) -> agent_pb2.Hello:
        finished = [waiting.item.instance for waiting in self.waiting.values()]
        return agent_pb2.Hello(protocol_version=1, agent_id="notes", finished=finished)

    def reconciled(self, welcome: agent_pb2.Welcome, reconcile: agent_pb2.Reconcile) -> None:
        self.streams += 1

    def assigned(self, items: Sequence[agent_pb2.Assign.Item]) -> None:
        self.assigned_numbers += [number_of(item.instance) for item in items]

    def renewed(self, sent_at: float) -> None:
        self.renewals.append(sent_at)

    def cancelled(self, items: Sequence[agent_pb2.Cancel.Item]) -> None:
        self.cancelled_numbers += [number_of(item.instance) for item in items]

    def paused(self, refs: Sequence[agent_pb2.InstanceRef]) -> None:
        self.held_numbers += [number_of(ref) for ref in refs]

    def resumed(self, refs: Sequence[agent_pb2.InstanceRef]) -> None:
        self.held_numbers = [number for number in self.held_numbers if number not in map(number_of, refs)]

    def drained(self, reason: str) -> None:
        self.drains.append(reason)

    def acknowledged(self, results: Iterable[Result]) -> None:
        for done in results:
            number = number_of(done.item.instance)
            self.acknowledged_numbers.append(number)
            self.waiting.pop(number, None)

    def disconnected(self) -> None:
        self.cuts += 1

    def metrics(self) -> agent_pb2.AgentMetrics:
        return agent_pb2.AgentMetrics(cpu_fraction=0.5)

    def finishes(self, link: Link, *results: Result) -> None:
        for one in results:
            self.waiting[number_of(one.item.instance)] = one
            link.finished(one)


@asynccontextmanager
async def linked(plane: ScriptedControlPlane, **options: Any) -> AsyncIterator[tuple[Link, Notes, asyncio.Task[None]]]:
    notes = Notes()
    async with grpc.aio.insecure_channel(plane.target, options=CHANNEL_OPTIONS) as channel:
        link = Link(channel, notes, first_backoff_seconds=0.02, last_backoff_seconds=0.2, **options)
        async with asyncio.TaskGroup() as group:
            # Its end is what tests look at, so it must not end the group.
            life = group.create_task(_life(link))
            try:
                yield link, notes, life  # type: ignore[misc] # see _life
            finally:
                life.cancel()


async def _life(link: Link) -> BaseException | None:
    try:
        await link.run()
    except Exception as ended:
        return ended
    return None


async def ended(life: Any) -> BaseException | None:
    async with asyncio.timeout(DEADLINE):
        found: BaseException | None = await asyncio.shield(life)
        return found


@pytest.fixture
async def plane() -> AsyncIterator[ScriptedControlPlane]:
    async with ScriptedControlPlane() as control_plane:
        yield control_plane


async def test_nothing_is_said_between_hello_and_reconcile(plane: ScriptedControlPlane) -> None:
    async with linked(plane) as (link, notes, _):
        notes.finishes(link, result(1))
        link.credits(5)
        await plane.play(opens(), hears("hello"), says(welcome()), hears("ack"))
        assert [message.WhichOneof("message") for message in plane.stream.messages] == ["hello", None]
        await plane.play(says(reconcile()), hears("finished", 1), hears("credits", 5))


async def test_messages_are_numbered_from_one_and_acknowledge_what_was_taken_in(plane: ScriptedControlPlane) -> None:
    async with linked(plane) as (link, notes, _):
        await plane.play(begins(), says(assign(work(1, "true"))), hears("ack"))
        link.accept([ref(1)], [])
        await plane.play(hears("taken", 1))
        numbered = [message for message in plane.stream.messages if message.seq]
        assert [message.seq for message in numbered] == list(range(1, len(numbered) + 1))
        # Welcome, reconcile, assign; what came since (an answer to a heartbeat) may be among them.
        assert plane.stream.messages[-1].ack >= 3
        assert notes.assigned_numbers == [1]


async def test_a_result_is_sent_on_every_new_stream_until_it_is_acknowledged(plane: ScriptedControlPlane) -> None:
    plane.acks = False
    async with linked(plane) as (link, notes, _):
        await plane.play(begins(), does(lambda: notes.finishes(link, result(1))), hears("finished", 1), cuts())
        (hello, *_) = await plane.play(begins(), hears("finished", 1), cuts())
        assert [number_of(one) for one in hello.finished] == [1]
        assert notes.acknowledged_numbers == []
        await plane.play(begins(), hears("finished", 1), acks())
        await until(lambda: notes.acknowledged_numbers == [1])
        await plane.play(cuts(), begins(), does(lambda: notes.finishes(link, result(2))), hears("finished", 2))
        assert plane.stream.count("finished", 1) == 0


async def test_an_acknowledgement_covers_everything_before_it_and_nothing_after(plane: ScriptedControlPlane) -> None:
    plane.acks = False
    async with linked(plane) as (link, notes, _):
        await plane.play(begins(), does(lambda: notes.finishes(link, result(1))), hears("finished", 1))
        first = plane.stream.received
        await plane.play(does(lambda: notes.finishes(link, result(2))), hears("finished", 2), acks(first))
        await until(lambda: notes.acknowledged_numbers == [1])
        assert list(notes.waiting) == [2]


async def test_a_result_that_nobody_waits_for_is_dropped(plane: ScriptedControlPlane) -> None:
    async with linked(plane) as (link, notes, _):
        notes.finishes(link, result(1), result(2))
        await plane.play(opens(), hears("hello"), says(welcome(), reconcile(forget=(ref(1),))), hears("finished", 2))
        assert plane.stream.count("finished", 1) == 0
        assert notes.acknowledged_numbers[0] == 1


async def test_a_full_window_holds_back_everything_but_a_sign_of_life(plane: ScriptedControlPlane) -> None:
    plane.acks = plane.renews = False
    async with linked(plane) as (link, notes, _):
        await plane.play(begins(window=3, heartbeat=60), hears("heartbeat"), acks())
        await plane.play(does(lambda: notes.finishes(link, result(1))), hears("finished", 1))
        await plane.play(does(lambda: notes.finishes(link, result(2))), hears("finished", 2))
        notes.finishes(link, result(3))
        link.beat_every(0.02)
        await plane.play(hears("heartbeat"))
        assert plane.stream.count("finished", 3) == 0
        await plane.play(acks(), hears("finished", 3))
        assert plane.stream.count("broken") == 0


async def test_results_go_before_progress(plane: ScriptedControlPlane) -> None:
    plane.acks = False
    async with linked(plane) as (link, notes, _):
        await plane.play(opens(), hears("hello"))
        link.progress(progress(1, 10))
        link.progress(progress(2, 20))
        notes.finishes(link, result(3))
        await plane.play(says(welcome(), reconcile()), hears("progress", 1), hears("progress", 2), hears("finished", 3))
        kinds = [message.WhichOneof("message") for message in plane.stream.messages if message.seq]
        assert kinds.index("finished") < kinds.index("progress")


async def test_only_the_newest_progress_of_a_run_is_sent(plane: ScriptedControlPlane) -> None:
    async with linked(plane) as (link, _, _life):
        await plane.play(opens(), hears("hello"))
        for percent in (10, 20, 30):
            link.progress(progress(1, percent))
        await plane.play(says(welcome(), reconcile()), hears("progress", 1, progress__percent=30.0))
        assert plane.stream.count("progress", 1) == 1


async def test_a_batch_of_results_is_closed_at_one_mebibyte(plane: ScriptedControlPlane) -> None:
    async with linked(plane) as (link, notes, _):
        notes.finishes(link, *(result(number, bytes(400_000)) for number in range(1, 6)))
        await plane.play(begins(), *(hears("finished", number) for number in range(1, 6)))
        batches = [len(message.finished.items) for message in plane.stream.messages if message.HasField("finished")]
        assert batches == [2, 2, 1]


async def test_leases_count_from_the_moment_the_beat_was_sent(plane: ScriptedControlPlane) -> None:
    plane.renews = False
    async with linked(plane) as (_, notes, _life):
        before = boot_clock()
        (_, beat) = await plane.play(begins(heartbeat=60), hears("heartbeat"))
        heard = boot_clock()
        renew = agent_pb2.ConnectResponse(renew=agent_pb2.Renew(beat=beat.beat))
        await plane.play(says(renew))
        await until(lambda: notes.renewals)
        assert before <= notes.renewals[0] <= heard
        assert beat.metrics.cpu_fraction == 0.5


async def test_a_renewal_is_acknowledged_with_the_next_sign_of_life_and_all_else_at_once(
    plane: ScriptedControlPlane,
) -> None:
    plane.renews = False
    async with linked(plane) as (link, notes, _):
        (_, beat) = await plane.play(begins(heartbeat=60), hears("heartbeat"))
        await plane.play(says(agent_pb2.ConnectResponse(renew=agent_pb2.Renew(beat=beat.beat))))
        await until(lambda: notes.renewals)
        link.beat_every(60)
        await plane.play(hears("heartbeat"))
        of_renewal = [said for said in plane.stream.messages if said.ack >= 3]
        assert [said.WhichOneof("message") for said in of_renewal] == ["heartbeat"]
        await plane.play(says(drain()))
        await until(lambda: any(said.ack >= 4 and not said.seq for said in plane.stream.messages))


async def test_a_renewal_for_a_beat_that_was_never_sent_renews_nothing(plane: ScriptedControlPlane) -> None:
    plane.renews = False
    async with linked(plane) as (_, notes, _life):
        (_, beat) = await plane.play(begins(heartbeat=60), hears("heartbeat"))
        foreign = agent_pb2.ConnectResponse(renew=agent_pb2.Renew(beat=beat.beat + 5))
        await plane.play(says(foreign, drain()))
        await until(lambda: notes.drains)
        assert notes.renewals == []


async def test_short_leases_make_the_agent_beat_more_often(plane: ScriptedControlPlane) -> None:
    async with linked(plane) as (link, _, _life):
        await plane.play(begins(heartbeat=60), hears("heartbeat"))
        link.beat_every(0.02)
        await plane.play(hears("heartbeat"), hears("heartbeat"), hears("heartbeat"))


async def test_what_the_control_plane_asks_for_reaches_the_peer(plane: ScriptedControlPlane) -> None:
    async with linked(plane) as (_, notes, _life):
        await plane.play(begins(), says(assign(work(1, "true"), work(2, "true")), cancel(1), drain()))
        await until(lambda: notes.drains)
        assert (notes.assigned_numbers, notes.cancelled_numbers) == ([1, 2], [1])


@pytest.mark.parametrize(
    ("reason", "kind"), [(agent_pb2.Goodbye.TAKEN_OVER, TakenOver), (agent_pb2.Goodbye.DELETED, Deleted)]
)
async def test_an_agent_that_is_not_wanted_any_more_does_not_come_back(
    plane: ScriptedControlPlane, reason: agent_pb2.Goodbye.Reason, kind: type[Exception]
) -> None:
    async with linked(plane) as (_, _notes, life):
        await plane.play(begins(), says(goodbye(reason, "host b")))
        error = await ended(life)
        assert isinstance(error, kind)
        assert "host b" in str(error)


async def test_a_control_plane_that_shuts_down_is_connected_to_again(plane: ScriptedControlPlane) -> None:
    async with linked(plane) as (_, notes, _life):
        await plane.play(begins(), says(goodbye(agent_pb2.Goodbye.SHUTTING_DOWN, after=0.01)), begins())
        await until(lambda: notes.streams == 2)
        assert notes.cuts == 1


async def test_a_refused_version_ends_with_both_numbers(plane: ScriptedControlPlane) -> None:
    async with linked(plane) as (_, _notes, life):
        await plane.play(opens(), hears("hello"), says(welcome(version=7)))
        error = await ended(life)
        assert isinstance(error, Refused)
        assert "version 7" in str(error)
        assert "version 1" in str(error)


async def test_a_refusal_with_a_status_ends_with_its_reason(plane: ScriptedControlPlane) -> None:
    plane.refusal = (grpc.StatusCode.FAILED_PRECONDITION, "this server speaks versions 3 and 4")
    async with linked(plane) as (_, _notes, life):
        error = await ended(life)
        assert isinstance(error, Refused)
        assert "version 1" in str(error)
        assert "speaks versions 3 and 4" in str(error)


async def test_an_agent_name_that_is_taken_is_asked_for_again(plane: ScriptedControlPlane) -> None:
    plane.refusal = (grpc.StatusCode.ALREADY_EXISTS, "host a has it")
    async with linked(plane) as (_, notes, _life):
        await until(lambda: plane.refused > 2)
        plane.refusal = None
        await plane.play(begins())
        await until(lambda: notes.streams == 1)


async def test_a_defect_of_the_server_is_told_of_once_whatever_its_incidents_are_called(
    plane: ScriptedControlPlane, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(number: int) -> None:
        plane.refusal = grpc.StatusCode.INTERNAL, f"the server's log explains it under {number:012x}"

    refuse(1)
    async with linked(plane):
        for number in range(2, 5):
            await until(lambda number=number: plane.refused >= number)  # type: ignore[misc]
            refuse(number)
    assert len([one for one in caplog.records if "no stream to the control plane" in one.getMessage()]) == 1


async def test_a_gap_in_the_numbers_costs_the_stream_and_not_the_link(plane: ScriptedControlPlane) -> None:
    async with linked(plane) as (_, notes, _life):
        await plane.play(begins(), says_numbered(7, drain()), begins())
        assert notes.drains == []


async def test_a_message_that_comes_twice_is_taken_in_once(plane: ScriptedControlPlane) -> None:
    async with linked(plane) as (_, notes, _life):
        await plane.play(begins(), says(drain()), says_numbered(3, drain()), says(cancel(1)))
        await until(lambda: notes.cancelled_numbers)
        assert len(notes.drains) == 1


async def test_a_stream_without_a_word_is_replaced(plane: ScriptedControlPlane) -> None:
    plane.acks = plane.renews = False
    async with linked(plane, quiet_seconds=0.2) as (_, notes, _life):
        await plane.play(begins(heartbeat=0.02), begins())
        await until(lambda: notes.streams == 2)


async def test_an_agent_that_starts_first_waits_for_its_control_plane(plane: ScriptedControlPlane) -> None:
    await plane.stop()
    async with linked(plane) as (_, notes, _life):
        await plane.restart()
        await plane.play(begins())
        await until(lambda: notes.streams == 1)


@pytest.mark.parametrize("phase", ["hello", "welcome", "reconcile", "result"])
async def test_a_cut_in_any_phase_loses_no_result(plane: ScriptedControlPlane, phase: str) -> None:
    plane.acks = False
    script = [opens(), hears("hello"), says(welcome()), says(reconcile()), hears("finished", 1)]
    upto = {"hello": 2, "welcome": 3, "reconcile": 4, "result": 5}[phase]
    async with linked(plane) as (link, notes, _):
        notes.finishes(link, result(1))
        await plane.play(*script[:upto], cuts())
        plane.acks = True
        await plane.play(begins(), hears("finished", 1))
        await until(lambda: notes.acknowledged_numbers == [1])


async def test_goodbye_is_said_after_the_last_result_is_acknowledged(plane: ScriptedControlPlane) -> None:
    plane.acks = False
    async with linked(plane) as (link, notes, life):
        await plane.play(begins(), does(lambda: notes.finishes(link, result(1))), does(lambda: link.leave("done")))
        await plane.play(hears("finished", 1))
        assert plane.stream.count("leave") == 0
        plane.acks = True
        await plane.play(acks(), hears("leave", reason="done"))
        assert await ended(life) is None
