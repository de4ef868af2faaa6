"""Thousands of random requests against a real server: both fronts agree, nothing is a defect, memory comes back.

5,000 in an ordinary run, as many as `PAWL_RANDOM_REQUESTS` says otherwise (`make faults`: 100,000).
"""

import gc
import json
import math
import os
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pawl.v1 import access_pb2

from controlplane.api.methods import HttpRule, Kind, Method, table
from controlplane.domain.ids import RESERVED_NAMES
from tests.faults.cluster import Cluster, until
from tests.spec.noise import HttpNoise, broken_messages, http_noise
from tests.spec.random_requests import NAMESPACE, Telling, Tree, requests
from tests.spec.story import GRPC_ONLY, OUTCOME_ONLY
from tests.spec.two_fronts import GrpcFront, Outcome, RestFront, as_http, refusal

REQUESTS = int(os.environ.get("PAWL_RANDOM_REQUESTS", "5000"))
TOGETHER = 25  # requests of one sequence, which share a namespace
WARM_UP = 60  # sequences: then each kind of statement, of metric and of thread has been there
MEGABYTES = 10
STREAM_SECONDS, PATIENCE_SECONDS = 0.3, 5.0
NOISES = REQUESTS // 5  # of each kind, on one kind of database: they hardly reach it

METHODS = {name.removeprefix("pawl.v1."): method for name, method in table().items()}
BOTH = sorted(METHODS.keys() - GRPC_ONLY.keys())

# What the whole server shares is not the same for two callers at two moments, nor are the next times after "now";
# streams end when their time is over.
OUTCOMES = (
    OUTCOME_ONLY
    | {"ScheduleService/PreviewSchedule"}
    | {name for name in BOTH if not METHODS[name].namespaced or METHODS[name].kind is not Kind.UNARY}
)

# What every sequence finds in its namespace, so that ids and names mean something from its first request on.
BEGINNING: tuple[tuple[str, Tree], ...] = (
    ("JobService/CreateJob", {"job": {"name": "alpha", "namespace_id": NAMESPACE, "config": {"cmd": "true"}}}),
    ("TaskService/CreateTask", {"task": {"job_id": "alpha", "namespace_id": NAMESPACE, "tags": {"a": "1"}}}),
    ("TaskService/CreateTask", {"task": {"job_id": "alpha", "namespace_id": NAMESPACE, "priority": 700}}),
)

CUT_SHORT = (("x-server-timeout", str(STREAM_SECONDS)),)
NEVER = {"INTERNAL", "UNKNOWN", "DATA_LOSS"}
# 501: a form of the call that is not offered; 504: its own deadline. Nothing is overloaded or away here.
DECLARED = {501, 504}


class Fronts:
    """A real server and a client of each front."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.grpc, self.rest = GrpcFront(cluster.server.grpc), RestFront(cluster.server.http)
        self.sequences = 0
        self.outcomes: Counter[str] = Counter()

    def tellings(self) -> tuple[Telling, Telling]:
        """Two namespaces that nobody has used, with the same beginning."""
        self.sequences += 1
        made = Telling(f"ng-{self.sequences}"), Telling(f"nr-{self.sequences}")
        for telling in made:
            namespace = access_pb2.CreateNamespaceRequest(namespace={"id": telling.namespace})
            outcome = self.grpc.call(METHODS["NamespaceService/CreateNamespace"], namespace)
            assert outcome.code == "OK", (outcome, self.cluster.server.ended)
            for name, tree in BEGINNING:
                outcome = self.grpc.call(METHODS[name], telling.build(METHODS[name], tree))
                assert outcome.code == "OK", outcome
                telling.remember(outcome.messages[0])
        return made

    def alive(self) -> bool:
        """Whether the server is still the one that was started, and answers."""
        return not self.cluster.server.ended and self.rest.client.get("/api/v1/system/health").status_code == 200

    def memory(self) -> int:
        """What the server holds, in bytes."""
        pages = Path(f"/proc/{self.cluster.server.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
async def fronts(cluster: Cluster) -> Fronts:
    """On each kind of database."""
    cluster.server.start()
    await cluster.server.serving()
    return Fronts(cluster)


def sequences(names: list[str]) -> st.SearchStrategy[list[tuple[str, Tree, int]]]:
    """Requests of any RPC; each with a number that chooses among its bindings."""
    one = st.sampled_from(names).flatmap(
        lambda name: st.tuples(st.just(name), requests(METHODS[name]), st.integers(0, 7))
    )
    return st.lists(one, min_size=TOGETHER, max_size=TOGETHER)


def examples(count: float) -> settings:
    """How Hypothesis goes about it: the same requests in each ordinary run, others each time when there are many.
    Nothing is shrunk: the failure names its request, and a sequence of calls would take minutes to make shorter."""
    return settings(
        max_examples=math.ceil(count),
        derandomize=REQUESTS <= 5000,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.timeout(7200)
async def test_random_requests_end_alike_on_both_fronts_and_leave_no_memory_behind(fronts: Fronts) -> None:
    half = REQUESTS // 2  # the other half goes to the other kind of database
    converse(fronts, WARM_UP)
    before = fronts.memory()
    converse(fronts, half / TOGETHER)
    gc.collect()
    await until(
        f"the server is back within {MEGABYTES} MB", lambda: fronts.memory() - before < MEGABYTES << 20, seconds=30
    )
    assert fronts.outcomes["OK"] > half // 10, fronts.outcomes  # most would prove nothing if all were refused


@pytest.fixture
async def server(sqlite_cluster: Cluster) -> Fronts:
    """On SQLite."""
    sqlite_cluster.server.start()
    await sqlite_cluster.server.serving()
    return Fronts(sqlite_cluster)


@pytest.mark.timeout(7200)
def test_odd_http_is_refused_in_the_shape_of_every_error_and_never_a_defect(server: Fronts) -> None:
    @examples(NOISES)
    @given(st.sampled_from(BOTH).flatmap(lambda name: http_noise(METHODS[name])))
    def ask(noise: HttpNoise) -> None:
        headers = [(name.encode(), value.encode("latin-1")) for name, value in (*noise.headers, *CUT_SHORT)]
        response = server.rest.client.request(noise.verb, noise.url, content=noise.body, headers=headers, timeout=20)
        assert response.status_code < 500 or response.status_code in DECLARED, (noise, response.text)
        if response.status_code >= 400 and noise.verb != "HEAD":
            assert refusal(response).code not in NEVER, (noise, response.text)

    ask()
    assert server.alive()


@pytest.mark.timeout(7200)
def test_broken_messages_are_refused_and_never_a_defect(server: Fronts) -> None:
    unary = sorted(name for name in METHODS if METHODS[name].kind is Kind.UNARY)
    telling = server.tellings()[0]

    def messages(name: str) -> st.SearchStrategy[tuple[str, bytes]]:
        valid = requests(METHODS[name]).map(lambda tree: telling.build(METHODS[name], tree).SerializeToString())
        return st.tuples(st.just(name), broken_messages(valid))

    @examples(NOISES)
    @given(st.sampled_from(unary).flatmap(messages))
    def ask(drawn: tuple[str, bytes]) -> None:
        name, raw = drawn
        assert server.grpc.raw(METHODS[name], raw).code not in NEVER, drawn

    ask()
    assert server.alive()


def converse(fronts: Fronts, count: float) -> None:
    """Sequences of requests, each told over both fronts."""

    @examples(count)
    @given(sequences(BOTH))
    def tell(sequence: list[tuple[str, Tree, int]]) -> None:
        by_grpc, by_rest = fronts.tellings()
        names = {by_grpc.namespace: "NAMESPACE", by_rest.namespace: "NAMESPACE"}
        for name, tree, choice in sequence:
            compare(fronts, name, tree, choice, (by_grpc, by_rest), names)

    tell()


def compare(
    fronts: Fronts, name: str, tree: Tree, choice: int, tellings: tuple[Telling, Telling], names: dict[str, str]
) -> None:
    """One request over both fronts: the same outcome."""
    method = METHODS[name]
    over_grpc, over_rest = (telling.build(method, tree) for telling in tellings)
    rule = binding(method, over_rest, choice)
    if rule is None:
        return
    try:
        first, second = both(fronts, method, (over_grpc, over_rest), rule, STREAM_SECONDS)
        if first.code != second.code and method.kind is Kind.SERVER_STREAM:  # a busy machine was late with one of them
            first, second = both(fronts, method, (over_grpc, over_rest), rule, PATIENCE_SECONDS)
    except (httpx.HTTPError, ValueError) as error:
        raise AssertionError(f"no answer to {name} {tree} by {rule}") from error
    fronts.outcomes[first.code] += 1
    assert first.code not in NEVER, (name, tree, first)
    if name in OUTCOMES:
        assert first.code == second.code, (name, tree, rule, first, second)
    else:
        assert first.alike(names) == second.alike(names), (name, tree, rule, first, second)
    for telling, outcome in zip(tellings, (first, second), strict=True):
        for message in outcome.messages[:1]:
            telling.remember(message)


def both(
    fronts: Fronts, method: Method, requests: tuple[Message, Message], rule: HttpRule, seconds: float
) -> tuple[Outcome, Outcome]:
    """The outcomes over gRPC and over REST."""
    over_grpc, over_rest = requests
    return call_grpc(fronts, method, over_grpc, seconds), call_rest(fronts, method, over_rest, rule, seconds)


def call_grpc(fronts: Fronts, method: Method, request: Message, seconds: float) -> Outcome:
    """Streams that would wait for more end with their deadline."""
    if method.kind is not Kind.SERVER_STREAM:
        return fronts.grpc.call(method, request)
    stream = fronts.grpc.channel.unary_stream(f"/{method.name}")
    try:
        list(stream(request.SerializeToString(), timeout=seconds))
    except grpc.RpcError as error:
        return Outcome(error.code().name)
    return Outcome("OK")


def call_rest(fronts: Fronts, method: Method, request: Message, rule: HttpRule, seconds: float) -> Outcome:
    """The same; what ends a stream that has begun is its last line."""
    verb, url, body, headers = as_http(request, rule)
    if method.kind is not Kind.SERVER_STREAM:
        return fronts.rest.raw(method, verb, url, body, headers)
    response = fronts.rest.client.request(
        verb, url, content=body, headers={**headers, "x-server-timeout": str(seconds)}
    )
    if response.status_code != 200:
        return refusal(response)
    last = response.text.rstrip().rpartition("\n")[2]
    return Outcome(json.loads(last)["error"]["status"] if last.startswith('{"error"') else "OK")


def binding(method: Method, request: Message, choice: int) -> HttpRule | None:
    """A binding that can carry this request, the same for the same choice. None: JSON or a path cannot say it."""
    fitting = [rule for rule in method.rules if carries(rule, request)]
    return fitting[choice % len(fitting)] if fitting else None


def carries(rule: HttpRule, request: Message) -> bool:
    """Whether a request fits: no empty, no dotted segment in the path, and no word that paths are made of, since
    nothing is called so; no list of messages nor map in the query."""
    for path in in_path(rule):
        value: Any = request
        for part in path.split("."):
            value = getattr(value, part)
        if value in ("", ".", "..") or value in RESERVED_NAMES:
            return False
    if rule.body == "*":
        return True
    return all(field.name == rule.body or not deep(field, value) for field, value in request.ListFields())


def in_path(rule: HttpRule) -> list[str]:
    """The fields that stand in the path."""
    return [piece.partition("}")[0].partition("=")[0] for piece in rule.template.split("{")[1:]]


def deep(field: Any, value: Any) -> bool:
    """Whether a query cannot say this."""
    message = field.message_type
    if message is None:
        return False
    if field.is_repeated or message.full_name in ("google.protobuf.Value", "google.protobuf.Struct", "pawl.v1.Payload"):
        return True
    return any(deep(inner, one) for inner, one in value.ListFields())
