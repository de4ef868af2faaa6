"""The control plane's end of the agents' stream, against agents whose part is written in the test: what an agent may
not do, and that nobody else notices when one does it."""

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any

import pytest
from pawl.tracing import Trace
from pawl.v1 import agent_pb2, task_pb2

from controlplane.api import link, translate_tasks
from controlplane.api.access import anonymous
from controlplane.api.call import Call
from controlplane.api.link import Link
from controlplane.domain.errors import AlreadyExists, IllegalTransition, Invalid, NotFound, PawlError, Unavailable
from controlplane.domain.ids import id_at
from controlplane.domain.placement import PlacementRules
from controlplane.domain.task import Status
from controlplane.engine.namespaces import Namespaces
from controlplane.engine.results import Ref
from controlplane.engine.sessions import EndStream, RenewLeases, Session, StopWork
from controlplane.store.tasks import TaskData
from tests.engine.stage import Replica, committing, opened

DEADLINE = 15.0
SOON = 0.3  # beyond the patience of the tests below
KEY = ("default", "agent")
A_TASK = "00000000-0000-7000-8000-000000000001"

Request = agent_pb2.ConnectRequest


@pytest.fixture
def one(migrated_url: str) -> Iterator[Replica]:
    """One control plane over an empty database."""
    with opened(migrated_url) as made:
        yield made


@pytest.fixture
def on_sqlite(tmp_path: Any) -> Iterator[Replica]:
    """For what has nothing to do with the database."""
    with opened(f"sqlite:///{tmp_path}/pawl.db") as made:
        yield made


def hello(**changes: Any) -> Request:
    """A first message that is taken."""
    fields: dict[str, Any] = {
        "protocol_version": 1,
        "agent_id": "agent",
        "state_id": "folder",
        "generation": 1,
        "slots": 4,
        "executors": [agent_pb2.ExecutorInfo(name="process")],
    }
    return Request(seq=1, hello=agent_pb2.Hello(**fields | changes))


async def until(fact: Callable[[], object]) -> None:
    """Wait for a fact of other tasks."""
    async with asyncio.timeout(DEADLINE):
        while not fact():  # noqa: ASYNC110 # it has no event
            await asyncio.sleep(0.01)


class Ended(Exception):
    """The stream ended well."""


class Talk:
    """One agent's stream. What it says is put into a queue; what it hears is taken off one by one."""

    def __init__(self, one: Replica, **options: Any) -> None:
        self._one = one
        self._said: asyncio.Queue[Request | Exception | None] = asyncio.Queue()
        self.read = 0
        exists = Namespaces(one.engine, one.tasks).exists
        self._link = Link(one.engine, one.sessions, one.agents, one.results, namespace_exists=exists, **options)
        self.heard: asyncio.Queue[agent_pb2.ConnectResponse | Exception | None] = asyncio.Queue()
        self.sent = 0

    async def connect(self) -> None:
        """Live as long as the stream; runs beside the test, as a front does."""
        principal = await anonymous({})
        call = Call("pawl.v1.AgentService/Connect", principal, "default", None, {}, "", None, Trace(), "grpc")
        try:
            async with aclosing(self._link.connect(call, self._requests())) as answers:  # type: ignore[type-var]
                async for answer in answers:
                    self.heard.put_nowait(answer)
        except Exception as error:
            self.heard.put_nowait(error)
        else:
            self.heard.put_nowait(None)

    async def begin(self, first: Request) -> "Talk":
        """Say hello and hear welcome and reconcile."""
        self.sent = first.seq
        self._said.put_nowait(first)
        assert (await self.hears("welcome")).welcome.window == link.WINDOW
        await self.hears("reconcile")
        return self

    async def _requests(self) -> AsyncIterator[Request]:
        while (one := await self._said.get()) is not None:
            if isinstance(one, Exception):
                raise one
            self.read += 1
            yield one

    def say(self, seq: int | None = None, ack: int = 0, **message: Any) -> None:
        """A numbered message."""
        self.sent = self.sent + 1 if seq is None else seq
        self._said.put_nowait(Request(seq=self.sent, ack=ack, **message))

    def beat(self, number: int = 1, ack: int = 0) -> None:
        """A sign of life."""
        self.say(ack=ack, heartbeat=agent_pb2.Heartbeat(beat=number))

    def breaks(self, error: Exception) -> None:
        """What comes in is no message."""
        self._said.put_nowait(error)

    def acknowledge(self, seq: int) -> None:
        """Without a message."""
        self._said.put_nowait(Request(ack=seq))

    async def next(self) -> agent_pb2.ConnectResponse:
        """Whatever is heard next. Raises what the stream ended with, Ended without an error."""
        async with asyncio.timeout(DEADLINE):
            heard = await self.heard.get()
        if heard is None:
            raise Ended
        if isinstance(heard, Exception):
            raise heard
        return heard

    async def hears(self, kind: str) -> agent_pb2.ConnectResponse:
        """The next message that is more than an acknowledgement, and of this kind."""
        while not (answer := await self.next()).seq:
            pass
        assert answer.WhichOneof("message") == kind, answer
        return answer

    async def hears_acknowledged(self, seq: int) -> None:
        """Everything up to this number."""
        while (await self.next()).ack < seq:
            pass

    async def end(self) -> tuple[agent_pb2.ConnectResponse | None, Exception]:
        """The last message, and the error that the stream ends with."""
        last: agent_pb2.ConnectResponse | None = None
        try:
            while True:
                last = await self.next()
        except Exception as error:
            return last, error

    async def is_refused(self) -> Exception:
        """Goodbye names the broken rule, and so does the end of the stream."""
        last, error = await self.end()
        assert isinstance(error, Invalid)
        assert last is not None
        assert last.goodbye.reason == agent_pb2.Goodbye.PROTOCOL_ERROR
        assert last.goodbye.message == error.message
        return error

    @property
    def session(self) -> Session:
        """What the control plane has of it."""
        found = self._one.sessions.find(KEY)
        assert found is not None
        return found


@asynccontextmanager
async def connected(one: Replica, **options: Any) -> AsyncIterator[Talk]:
    """A stream on which nothing was said."""
    async with asyncio.TaskGroup() as group:
        talk = Talk(one, **options)
        stream = group.create_task(talk.connect())
        try:
            yield talk
        finally:
            stream.cancel()


@asynccontextmanager
async def talking(one: Replica, first: Request | None = None, **options: Any) -> AsyncIterator[Talk]:
    """An agent that was taken, with all that stands behind the stream."""
    results = one.results
    async with (
        committing(results.finishing, results.starting, results.progressing, one.agents.beating),
        connected(one, **options) as talk,
    ):
        yield await talk.begin(first or hello())


def finished(*refs: Ref) -> agent_pb2.Finished:
    """Successes."""
    items = [
        agent_pb2.Finished.Item(
            instance=agent_pb2.InstanceRef(task_id=one.task_id, instance_id=one.instance_id, token=one.token),
            status=task_pb2.Task.SUCCEEDED,
        )
        for one in refs
    ]
    return agent_pb2.Finished(items=items)


UNKNOWN = Ref(A_TASK, A_TASK, 1)


# --- the order of the stream


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "a gap": ({"seq": 3, "heartbeat": agent_pb2.Heartbeat(beat=1)}, "seq: is 3, expected 2"),
    "a number again": ({"seq": 1, "heartbeat": agent_pb2.Heartbeat(beat=1)}, "seq: is 1, expected 2"),
    "what was never sent": ({"ack": 99, "heartbeat": agent_pb2.Heartbeat()}, "ack: is 99, and only 2"),
    "hello again": ({"hello": hello().hello}, "message: is not one that an agent sends after its hello"),
    "credits without slots": ({"credits": agent_pb2.Credits(free={"gpu": 1})}, "must have the key 'slots'"),
    "a result of nothing": (
        {"finished": agent_pb2.Finished(items=[agent_pb2.Finished.Item()])},
        "task_id: is required",
    ),
    "a start of nothing": ({"started": agent_pb2.Started(items=[agent_pb2.Started.Item()])}, "task_id: is required"),
    "too much": (
        {"accepted": agent_pb2.Accepted(taken=[agent_pb2.InstanceRef(task_id="x" * (link.MESSAGE_BYTES + 1))])},
        "an agent's messages have at most",
    ),
}


@pytest.mark.parametrize("rule", BROKEN)
async def test_an_agent_that_breaks_the_order_is_told_which_rule(on_sqlite: Replica, rule: str) -> None:
    message, words = BROKEN[rule]
    async with talking(on_sqlite) as talk:
        talk.say(**message)
        assert words in str(await talk.is_refused())
        assert on_sqlite.sessions.find(KEY) is None
    assert on_sqlite.sessions.traffic.unacknowledged == 0


async def test_what_is_no_message_ends_the_stream_with_its_reason(on_sqlite: Replica) -> None:
    async with talking(on_sqlite) as talk:
        talk.breaks(Invalid("not a pawl.v1.ConnectRequest: the bytes do not decode", reason="MALFORMED_REQUEST"))
        assert "the bytes do not decode" in str(await talk.is_refused())


async def test_the_first_message_is_the_hello(on_sqlite: Replica) -> None:
    async with connected(on_sqlite) as talk:
        talk.beat()
        with pytest.raises(Invalid, match="the first message must be the hello"):
            await talk.next()


async def test_who_says_nothing_is_not_waited_for(on_sqlite: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "HELLO_SECONDS", 0.05)
    async with connected(on_sqlite) as talk:
        with pytest.raises(Unavailable, match=r"no hello came within 0.05 s"):
            await talk.next()


REFUSED: dict[str, tuple[dict[str, Any], type[Exception]]] = {
    "more names than can be meant": ({"serves": [f"space-{number}" for number in range(1_001)]}, Invalid),
    "a version that is not spoken": ({"protocol_version": 9}, IllegalTransition),
    "a home that there is not": ({"agent_id": "other", "namespace_id": "nowhere"}, NotFound),
    "a namespace that there is not": ({"agent_id": "other", "serves": ["default", "nowhere"]}, NotFound),
    "another's name": ({"state_id": "another folder"}, AlreadyExists),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_hello_that_is_refused_leaves_the_agent_of_this_name_alone(on_sqlite: Replica, what: str) -> None:
    changes, error = REFUSED[what]
    async with talking(on_sqlite) as talk, connected(on_sqlite) as refused:
        with pytest.raises(error):
            await refused.begin(hello(**changes))
        assert on_sqlite.sessions.traffic.refused == 1
        talk.beat(5)
        assert (await talk.hears("renew")).renew.beat == 5


# --- floods


@contextmanager
def held(committer: Any) -> Iterator[threading.Event]:
    """Its first commit lasts until the event is set."""
    go, handle = threading.Event(), committer._handle

    def wait(*arguments: Any) -> Any:
        assert go.wait(DEADLINE)
        return handle(*arguments)

    committer._handle = wait
    try:
        yield go
    finally:
        go.set()
        committer._handle = handle


async def settled() -> None:
    """Everybody has done what can be done without a commit."""
    for _ in range(200):
        await asyncio.sleep(0)


async def test_a_flood_of_results_is_not_read_beyond_what_is_in_commits(one: Replica) -> None:
    committer = one.results.finishing
    with held(committer) as go:
        async with talking(one) as talk:
            for _ in range(20):
                talk.say(finished=finished(*[UNKNOWN] * 500))
            await until(lambda: talk.read == 1 + link.UNCOMMITTED_ITEMS // 500)
            await settled()
            assert talk.read == 1 + link.UNCOMMITTED_ITEMS // 500
            assert committer.waiting <= link.UNCOMMITTED_ITEMS
            go.set()
            await talk.hears_acknowledged(talk.sent)


async def test_a_flood_of_messages_is_not_read_beyond_the_window(on_sqlite: Replica) -> None:
    with held(on_sqlite.agents.beating) as go:
        async with talking(on_sqlite) as talk:
            for number in range(5 * link.WINDOW):
                talk.beat(number)
            await until(lambda: talk.read > link.UNCOMMITTED_MESSAGES)
            await settled()
            assert talk.read == link.UNCOMMITTED_MESSAGES + 1, "the hello, and what is under way"
            go.set()
            await talk.hears_acknowledged(talk.sent)


async def test_a_flood_of_bytes_is_not_read_beyond_a_few_megabytes(on_sqlite: Replica) -> None:
    large = finished(UNKNOWN)
    large.items[0].output.data = b"x" * (2 << 20)
    with held(on_sqlite.results.finishing) as go:
        async with talking(on_sqlite) as talk:
            for _ in range(20):
                talk.say(finished=large)
            await until(lambda: talk.read == 1 + link.UNCOMMITTED_BYTES // (2 << 20))
            await settled()
            assert talk.read == 1 + link.UNCOMMITTED_BYTES // (2 << 20)
            go.set()
            await talk.hears_acknowledged(talk.sent)


async def test_an_agent_that_floods_does_not_keep_others_from_their_commits(one: Replica) -> None:
    await one.job()
    [task] = await one.create()
    async with talking(one, hello(agent_id="flooding")) as flood, connected(one) as calm:
        for _ in range(100):
            flood.say(finished=finished(*[UNKNOWN] * 1000))
        await calm.begin(hello())
        calm.say(credits=agent_pb2.Credits(free={"slots": 4}), ack=2)
        await until(lambda: calm.session.free)
        await one.place()
        instance = (await calm.hears("assign")).assign.items[0].instance
        calm.say(ack=3, finished=finished(Ref(instance.task_id, instance.instance_id, instance.token)))
        await calm.hears_acknowledged(calm.sent)
        assert (await one.task(task.id)).status is Status.SUCCEEDED
        assert flood.read < 100, "the flood was over before the other one came"


# --- units


async def test_what_is_on_its_way_to_an_agent_is_not_free_although_its_last_word_says_so(one: Replica) -> None:
    """Credits that crossed an assignment know nothing of it: neither slots nor resources are given out twice."""
    await one.job(placement=PlacementRules(slots=2, resources={"gpu": 1}))
    await one.create(count=3)
    units = {"slots": 8, "gpu": 3}
    async with connected(one) as talk:
        await talk.begin(hello(slots=8, resources={"gpu": 2}, features=["units"]))
        talk.say(credits=agent_pb2.Credits(free=units), ack=2)
        await until(lambda: talk.session.free)
        assert talk.session.free_resources == {"gpu": 2}  # no more than its hello said
        assert await one.place() == 2
        assert len((await talk.hears("assign")).assign.items) == 2
        talk.say(credits=agent_pb2.Credits(free=units), ack=2)
        talk.say(credits=agent_pb2.Credits(free=units), ack=2)
        await until(lambda: talk.read == 4)
        assert (talk.session.free, talk.session.free_resources, talk.session.running) == (4, {"gpu": 0}, 4)
        assert await one.place() == 0
        talk.say(credits=agent_pb2.Credits(free={"slots": 6, "gpu": 1}), ack=3)
        await until(lambda: talk.session.free_resources["gpu"])
        assert (talk.session.free, talk.session.running) == (6, 2)
        assert await one.place() == 1


@pytest.mark.parametrize("resources", [{"slots": 1}, {"gpu": -1}, {"": 1}, {str(number): 1 for number in range(65)}])
async def test_resources_that_cannot_be_are_refused(on_sqlite: Replica, resources: dict[str, int]) -> None:
    async with connected(on_sqlite) as talk:
        talk._said.put_nowait(hello(resources=resources))
        with pytest.raises(Invalid, match=r"hello\.resources"):
            await talk.next()


# --- who takes nothing in


async def test_an_agent_that_acknowledges_nothing_is_told_to_connect_again(on_sqlite: Replica) -> None:
    async with talking(on_sqlite, patience=0.2) as talk:
        talk.beat(1)
        _, error = await talk.end()
        assert "this agent acknowledged nothing for 0.2 s" in str(error)
        assert isinstance(error, Unavailable)


async def test_an_agent_that_owes_nothing_may_be_silent(on_sqlite: Replica) -> None:
    async with talking(on_sqlite, patience=0.1) as talk:
        talk.acknowledge(2)
        await asyncio.sleep(SOON)
        talk.session.send(RenewLeases(7))
        assert (await talk.hears("renew")).renew.beat == 7


async def test_a_renewal_may_be_acknowledged_with_the_sign_of_life_after_it(on_sqlite: Replica) -> None:
    async with talking(on_sqlite, patience=0.1) as talk:
        talk.beat(1, ack=2)
        renewed = await talk.hears("renew")
        await asyncio.sleep(SOON)
        talk.beat(2, ack=renewed.seq)
        assert (await talk.hears("renew")).renew.beat == 2


async def test_work_that_is_sent_while_a_renewal_is_owed_has_its_whole_patience(on_sqlite: Replica) -> None:
    async with talking(on_sqlite, patience=0.5) as talk:
        talk.beat(1, ack=2)
        await talk.hears("renew")
        await asyncio.sleep(0.6)
        talk.session.send(StopWork(((UNKNOWN, "cancelled"),)))
        cancelled = await talk.hears("cancel")
        talk.acknowledge(cancelled.seq)
        talk.session.send(RenewLeases(7))
        assert (await talk.hears("renew")).renew.beat == 7
        talk.session.send(StopWork(((UNKNOWN, "again"),)))
        await talk.hears("cancel")
        _, error = await talk.end()
        assert "acknowledged nothing" in str(error)


async def test_nothing_waits_for_the_commit_of_a_sign_of_life_but_its_renewal(on_sqlite: Replica) -> None:
    with held(on_sqlite.agents.beating) as go:
        async with talking(on_sqlite) as talk:
            talk.beat(1)
            await until(lambda: not on_sqlite.agents.beating.waiting)
            talk.say(credits=agent_pb2.Credits(free={"slots": 4}))
            await talk.hears_acknowledged(talk.sent)
            go.set()
            assert (await talk.hears("renew")).renew.beat == 1


async def test_signs_of_life_that_come_rarely_are_stored_together(on_sqlite: Replica) -> None:
    async with talking(on_sqlite) as talk, connected(on_sqlite) as other:
        await other.begin(hello(agent_id="other"))
        beating = on_sqlite.agents.beating
        for session in on_sqlite.sessions:
            session.beat_at -= 60.0
        talk.beat(1)
        other.beat(1)
        await talk.hears("renew")
        await other.hears("renew")
        assert (beating.batches, beating.items) == (1, 2)


async def test_a_sign_of_life_that_cannot_be_stored_ends_the_stream(on_sqlite: Replica) -> None:
    async with talking(on_sqlite) as talk:
        on_sqlite.agents.beating.close()
        await until(lambda: on_sqlite.agents.beating._closed)
        talk.beat(1)
        _, error = await talk.end()
        assert isinstance(error, Unavailable)


async def test_what_an_agent_does_not_take_in_does_not_grow(on_sqlite: Replica) -> None:
    async with talking(on_sqlite) as talk:
        session = talk.session
        for beat in range(10_000):
            session.send(RenewLeases(beat))
            session.send(StopWork(((UNKNOWN, "cancelled"),)))
        assert list(session.outbox) == [RenewLeases(9_999), StopWork(((UNKNOWN, "cancelled"),))]
        # Once it was told, it can be told again.
        await talk.hears("renew")
        await talk.hears("cancel")
        session.send(StopWork(((UNKNOWN, "cancelled"),)))
        await talk.hears("cancel")


async def test_work_that_waits_to_be_told_is_bounded(on_sqlite: Replica) -> None:
    await on_sqlite.job()
    megabyte = b"x" * (1 << 20)
    for _ in range(8):
        await on_sqlite.create(data=TaskData(parameters=megabyte))
    session = await on_sqlite.connect(free=1, slots=100)
    for _ in range(8):
        session.free = 1
        await on_sqlite.place()
    assert 4 <= len(session.outbox) <= 5
    assert session.backed_up


async def test_goodbye_goes_before_what_an_agent_does_not_take_in(on_sqlite: Replica) -> None:
    async with talking(on_sqlite) as talk:
        for number in range(2, link.WINDOW):
            talk.session.send(StopWork(((Ref(A_TASK, A_TASK, number), "cancelled"),)))
            await talk.hears("cancel")
        waiting = StopWork(((UNKNOWN, "cancelled"),))
        talk.session.send(waiting)
        on_sqlite.sessions.end(EndStream("SHUTTING_DOWN", "the server stops; connect again", 0.5))
        goodbye = (await talk.hears("goodbye")).goodbye
        assert (goodbye.reason, goodbye.reconnect_after_seconds) == (agent_pb2.Goodbye.SHUTTING_DOWN, 0.5)
        assert await talk.heard.get() is None


async def test_who_comes_while_the_server_stops_is_told_so_at_once(on_sqlite: Replica) -> None:
    on_sqlite.sessions.end(EndStream("SHUTTING_DOWN", "the server stops; connect again", 0.5))
    async with talking(on_sqlite) as talk:
        assert (await talk.hears("goodbye")).goodbye.reason == agent_pb2.Goodbye.SHUTTING_DOWN


async def test_an_old_stream_is_replaced_politely(on_sqlite: Replica) -> None:
    async with talking(on_sqlite, age=0.1) as talk:
        goodbye = (await talk.hears("goodbye")).goodbye
        assert (goodbye.reason, goodbye.message) == (
            agent_pb2.Goodbye.SHUTTING_DOWN,
            "this stream is old; connect again",
        )


# --- what is acknowledged is durable


async def test_what_failed_to_be_stored_for_any_reason_is_not_acknowledged(
    on_sqlite: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> Any:
        raise RuntimeError("a defect")

    monkeypatch.setattr(on_sqlite.results.finishing, "_handle", broken)
    async with talking(on_sqlite) as talk:
        talk.say(finished=finished(UNKNOWN))
        last, error = await talk.end()
        assert str(error) == "a defect"
        assert last is None or last.ack < talk.sent
        assert on_sqlite.sessions.find(KEY) is None


async def test_a_defect_in_reading_ends_the_stream(on_sqlite: Replica) -> None:
    async with talking(on_sqlite) as talk:
        talk.breaks(RuntimeError("a defect"))
        _, error = await talk.end()
        assert str(error) == "a defect"


# --- what agents say is stored as far as it can be


async def test_odd_texts_and_numbers_of_an_agent_break_nothing(one: Replica) -> None:
    await one.job()
    [task] = await one.create()
    first = hello(hostname="ü\x00" + "x" * 5000, agent_version="1\x00" * 100, generation=(1 << 31) - 1)
    async with talking(one, first) as talk:
        talk.say(credits=agent_pb2.Credits(free={"slots": (1 << 31) - 1, "\x00": -1}), ack=2)
        await until(lambda: talk.session.free)
        await one.place()
        instance = (await talk.hears("assign")).assign.items[0].instance
        progress = task_pb2.Progress(percent=math.nan, message="ü\x00" * 5000)
        talk.say(ack=3, progress={"items": [{"instance": instance, "progress": progress}]})
        talk.say(started={"items": [{"instance": instance, "seconds_ago": math.inf}]})
        metrics = agent_pb2.AgentMetrics(cpu_fraction=math.nan, load_average=-math.inf, results_waiting=-1)
        talk.say(heartbeat=agent_pb2.Heartbeat(beat=(1 << 63) - 1, metrics=metrics))
        talk.say(
            finished={
                "items": [
                    {
                        "instance": instance,
                        "status": task_pb2.Task.FAILED,
                        "exit_code": -(1 << 31),
                        "signal": (1 << 31) - 1,
                        "finished_seconds_ago": math.nan,
                        "started_seconds_ago": -math.inf,
                        "retry_after_seconds": math.inf,
                        "output_size": -(1 << 63),
                        "output": {"data": b"\x00\xff", "content_type": "ü\x00"},
                        "error": {"code": "ü\x00" * 500, "message": "ü\x00" * 50_000},
                        "metrics": {"wall_seconds": math.nan, "peak_memory_bytes": (1 << 63) - 1},
                    }
                ]
            }
        )
        await talk.hears_acknowledged(talk.sent)
        assert (await one.task(task.id)).status is Status.FAILED
        assert (await one.agents.get(KEY)).agent.hostname.startswith("ü")


@pytest.mark.parametrize("field", ["agent_id", "state_id", "namespace_id"])
async def test_names_that_cannot_be_stored_are_refused(on_sqlite: Replica, field: str) -> None:
    async with connected(on_sqlite) as talk:
        with pytest.raises(PawlError):
            await talk.begin(hello(**{field: "a\x00b"}))
    assert on_sqlite.sessions.traffic.refused == 1


def test_a_run_neither_starts_nor_ends_before_its_placement_was_made_whatever_clocks_say() -> None:
    made = 1_767_225_600_000_000
    placement = Ref(id_at(made, 1), id_at(made, 2), 1)
    now = made + 5_000_000
    assert made < translate_tasks.since(placement, made - 400_000, now) <= made + 1_000
    assert translate_tasks.since(placement, made + 70_000, now) == made + 70_000
    assert translate_tasks.since(placement, made + 70_000, made - 10) == made - 10, "nor after now"
