"""Keys as their holders and those who give them out live with them: on both databases, at both fronts."""

import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from pawl.v1 import access_pb2, agent_pb2, task_pb2

from controlplane.domain.key import digest_of
from tests.spec.collector import Collector
from tests.spec.keyed import DEADLINE, ENDED_WITHIN, METHODS, Caller, Keyed, eventually, keyed
from tests.spec.story import HELLO, STORY, Memory
from tests.spec.test_parity import tell

FRONTS = ("grpc", "rest")
MARGIN = 1.0  # of a machine that does other things too


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def plane(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    """A control plane that asks for keys; on PostgreSQL there are two replicas of it."""
    folder = tmp_path_factory.mktemp("keys")
    with ExitStack() as stack:
        url, replicas = f"sqlite:///{folder}/pawl.db", 1
        if request.param == "postgres":
            server = request.getfixturevalue("postgres")
            url, replicas = server.url(stack.enter_context(server.database(request.getfixturevalue("migrated")))), 2
        yield stack.enter_context(keyed(url, folder, replicas))


def in_seconds(seconds: float) -> Timestamp:
    """An instant from now."""
    made = Timestamp()
    made.FromDatetime(datetime.now(UTC) + timedelta(seconds=seconds))
    return made


class Stream:
    """An open stream that somebody reads, until it ends with a code."""

    def __init__(self, answers: Any) -> None:
        self.first = threading.Event()
        self.ended_at = 0.0
        self.code = self.said = ""
        self._answers = answers
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        try:
            for _ in self._answers:
                self.first.set()
            self.code = "OK"
        except grpc.RpcError as error:
            self.code, self.said = error.code().name, error.details() or ""
        self.ended_at = time.monotonic()
        self.first.set()

    def ended(self) -> float:
        """When; waits for it."""
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "the stream did not end"
        return self.ended_at

    def cut(self) -> None:
        """From this side."""
        with suppress(AttributeError):
            self._answers.cancel()
        self._thread.join(DEADLINE)


def watching(caller: Caller, task: str) -> Stream:
    """A stream of a task that nobody runs, so that it goes on for ever."""
    method = METHODS["TaskService/WatchTask"]
    return Stream(
        caller.grpc.channel.unary_stream(f"/{method.name}")(
            task_pb2.WatchTaskRequest(id=task).SerializeToString(), timeout=DEADLINE
        )
    )


def following_over_http(caller: Caller, task: str) -> Stream:
    """The log of such a task, followed over REST as server-sent events."""

    def lines() -> Iterator[str]:
        headers = {"accept": "text/event-stream"}
        path = f"/api/v1/tasks/{task}/logs?follow=true"
        with caller.http.stream("GET", path, headers=headers, timeout=DEADLINE) as answer:
            assert answer.status_code == 200
            for line in answer.iter_lines():
                yield line
                if '"UNAUTHENTICATED"' in line:
                    raise _Refusal(line)

    return Stream(lines())


class _Refusal(grpc.RpcError):
    def __init__(self, line: str) -> None:
        self._line = line

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAUTHENTICATED

    def details(self) -> str:
        return self._line


def connected(caller: Caller, name: str, namespace: str) -> Stream:
    """The stream of an agent."""
    outgoing: queue.SimpleQueue[agent_pb2.ConnectRequest | None] = queue.SimpleQueue()
    hello = agent_pb2.Hello()
    hello.CopyFrom(HELLO)
    hello.agent_id, hello.namespace_id, hello.state_id = name, namespace, f"state-{name}"
    outgoing.put(agent_pb2.ConnectRequest(seq=1, hello=hello))
    answers = caller.grpc.channel.stream_stream(
        "/pawl.v1.AgentService/Connect",
        request_serializer=agent_pb2.ConnectRequest.SerializeToString,
        response_deserializer=agent_pb2.ConnectResponse.FromString,
    )(iter(outgoing.get, None), timeout=DEADLINE)
    return Stream(answers)


def waiting_task(plane: Keyed, namespace: str) -> str:
    """The id of a task that no agent can run."""
    job = {"name": "never", "namespace_id": namespace, "config": {"cmd": "true", "labels": {"nobody": "has-it"}}}
    plane.admin.does("JobService/CreateJob", job=job)
    made = plane.admin.does("TaskService/CreateTask", task={"job_id": "never", "namespace_id": namespace})
    return str(made.id)


# ---------------------------------------------------------------- the end of a key


def open_streams(plane: Keyed, secret: str, space: str, name: str, replica: int) -> dict[str, Stream]:
    """One of each kind, each with its first answer."""
    caller, task = plane.caller(secret, replica, namespace=space), waiting_task(plane, space)
    caller.grpc.channel = _in(caller, space)
    streams = {
        "watch": watching(caller, task),
        "agent": connected(caller, name, space),
        "follow": following_over_http(caller, task),
    }
    for kind, stream in streams.items():
        assert stream.first.wait(DEADLINE)
        assert not stream.code, (kind, stream.said)
    return streams


def _in(caller: Caller, space: str) -> Any:
    caller.grpc.channel._metadata += (("pawl-namespace", space),)
    return caller.grpc.channel


def test_a_revoked_key_opens_nothing_and_its_streams_end_within_two_seconds_on_every_replica(plane: Keyed) -> None:
    key = plane.new_key("admin", "agent")
    streams: dict[tuple[int, str], Stream] = {}
    for number in range(len(plane.replicas)):
        opened = open_streams(plane, key.secret, plane.namespace(), f"revoked-{number}", number)
        streams |= {(number, kind): stream for kind, stream in opened.items()}
    at = plane.revoke(key)
    for where, stream in streams.items():
        assert stream.ended() - at < ENDED_WITHIN + MARGIN, where
        assert stream.code == "UNAUTHENTICATED", (where, stream.code, stream.said)
        assert "the key was revoked" in stream.said
    for number in range(len(plane.replicas)):
        caller = plane.caller(key.secret, number)
        for front in FRONTS:
            outcome = caller.call("SystemService/GetInfo", front)
            assert (outcome.code, outcome.text) == ("UNAUTHENTICATED", "the key was revoked")


def test_who_waits_for_a_task_with_a_key_that_ends_is_answered_with_the_task_as_it_was(plane: Keyed) -> None:
    space = plane.namespace()
    waiting_task(plane, space)
    key = plane.new_key("submitter", namespaces=(space,))
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    caller = plane.caller(key.secret)
    asking = threading.Thread(
        target=lambda: answers.put(caller.call("TaskService/RunTask", task={"job_id": "never"}, wait_seconds=20))
    )
    asking.start()
    eventually(lambda: plane.admin.does("TaskService/ListTasks", namespace_id=space).total, lambda total: total == 2)
    at = plane.revoke(key)
    outcome = answers.get(timeout=DEADLINE)
    assert time.monotonic() - at < ENDED_WITHIN + MARGIN
    assert outcome.code == "OK"
    assert outcome.messages[0].status == task_pb2.Task.Status.PENDING
    asking.join(DEADLINE)


def test_the_other_replica_takes_no_revoked_key_that_it_has_just_taken(plane: Keyed) -> None:
    key = plane.new_key("viewer")
    callers = [plane.caller(key.secret, number) for number in range(len(plane.replicas))]
    for caller in callers:
        caller.does("SystemService/GetInfo")
    at = plane.revoke(key)
    eventually(
        lambda: {caller.call("SystemService/GetInfo").code for caller in callers},
        lambda codes: codes == {"UNAUTHENTICATED"},
        ENDED_WITHIN + MARGIN,
    )
    assert time.monotonic() - at < ENDED_WITHIN + MARGIN


def test_an_expired_key_opens_nothing_and_its_streams_end(plane: Keyed) -> None:
    key = plane.new_key("admin", "agent", expires_at=in_seconds(4))
    streams = open_streams(plane, key.secret, plane.namespace(), "expires", 0)
    for kind, stream in streams.items():
        stream.ended()
        assert stream.code == "UNAUTHENTICATED", (kind, stream.code)
        assert "the key has expired" in stream.said
    for front in FRONTS:
        outcome = plane.caller(key.secret).call("SystemService/GetInfo", front)
        assert (outcome.code, outcome.text) == ("UNAUTHENTICATED", "the key has expired")


def test_a_key_that_loses_one_of_its_namespaces_goes_on_in_the_others_and_ends_with_the_last(plane: Keyed) -> None:
    stays, goes = plane.namespace(), plane.namespace()
    key = plane.new_key("viewer", namespaces=(goes, stays))
    caller = plane.caller(key.secret)
    assert caller.does("NamespaceService/ListNamespaces").total == 2
    plane.admin.does("NamespaceService/DeleteNamespace", id=goes)
    eventually(
        lambda: caller.call("JobService/ListJobs", namespace_id=goes).code, lambda code: code == "PERMISSION_DENIED"
    )
    plane.admin.does("NamespaceService/CreateNamespace", namespace={"id": goes})  # a namesake is another place
    assert caller.call("JobService/ListJobs", namespace_id=goes).code == "PERMISSION_DENIED"
    assert caller.call("JobService/ListJobs", namespace_id=stays).code == "OK"
    plane.admin.does("NamespaceService/DeleteNamespace", id=stays)
    eventually(lambda: caller.call("SystemService/GetInfo").code, lambda code: code == "UNAUTHENTICATED")


@pytest.mark.parametrize("front", FRONTS)
def test_the_last_key_that_is_an_admin_everywhere_is_not_revoked_by_mistake(plane: Keyed, front: str) -> None:
    outcome = plane.admin.call("KeyService/RevokeKey", front, id="admin")
    assert (outcome.code, outcome.reason) == ("FAILED_PRECONDITION", "PROTECTED_RESOURCE")
    assert "make another first, or force it" in outcome.text
    assert plane.admin.call("SystemService/GetInfo", front).code == "OK"


# ---------------------------------------------------------------- what a key is worth


@pytest.mark.parametrize("front", FRONTS)
def test_the_secret_is_in_the_first_answer_and_in_no_other(plane: Keyed, front: str) -> None:
    wanted = access_pb2.Key(name=f"once-{front}", roles=["VIEWER"])
    made = plane.admin.call("KeyService/CreateKey", front, key=wanted, request_id=f"once-{front}").messages[0]
    assert made.secret.startswith(f"pawl_{made.prefix}_")  # type: ignore[attr-defined] # a Key
    repeated = plane.admin.call("KeyService/CreateKey", front, key=wanted, request_id=f"once-{front}").messages[0]
    assert (repeated.id, repeated.secret) == (made.id, "")  # type: ignore[attr-defined] # as above
    shown = [plane.admin.call("KeyService/GetKey", front, id=made.id), plane.admin.call("KeyService/ListKeys", front)]  # type: ignore[attr-defined] # as above
    secret = made.secret.rpartition("_")[2]  # type: ignore[attr-defined] # as above
    assert not any(secret in str(outcome.messages) for outcome in shown)


@pytest.mark.parametrize("front", FRONTS)
def test_nobody_makes_a_key_that_is_stronger_than_his_own(plane: Keyed, front: str) -> None:
    space = plane.namespace()
    maker = plane.with_role("admin", namespaces=(space,), expires_at=in_seconds(600))
    for field, wanted in (
        ("key.namespaces", {"name": "x", "roles": ["VIEWER"], "expires_at": in_seconds(60)}),
        ("key.namespaces", {"name": "x", "roles": ["VIEWER"], "namespaces": ["default"], "expires_at": in_seconds(60)}),
        ("key.expires_at", {"name": "x", "roles": ["VIEWER"], "namespaces": [space]}),
        ("key.expires_at", {"name": "x", "roles": ["VIEWER"], "namespaces": [space], "expires_at": in_seconds(6000)}),
    ):
        outcome = maker.call("KeyService/CreateKey", front, key=wanted)
        assert (outcome.code, outcome.reason) == ("PERMISSION_DENIED", "FORBIDDEN"), (wanted, outcome)
        assert field in outcome.text
    smaller = {"name": f"x-{front}-{space}", "roles": ["AGENT"], "namespaces": [space], "expires_at": in_seconds(60)}
    assert maker.call("KeyService/CreateKey", front, key=smaller).code == "OK"


@pytest.mark.parametrize("front", FRONTS)
def test_only_admins_see_keys_and_each_only_those_of_his_own_namespaces(plane: Keyed, front: str) -> None:
    space, other = plane.namespace(), plane.namespace()
    mine, foreign = plane.new_key("viewer", namespaces=(space,)), plane.new_key("viewer", namespaces=(other,))
    wide = plane.new_key("viewer", namespaces=(space, other))
    admin = plane.with_role("admin", namespaces=(space,))
    seen = {one.id for one in admin.call("KeyService/ListKeys", front).messages[0].data}  # type: ignore[attr-defined] # a page
    assert mine.id in seen
    assert not seen & {foreign.id, wide.id}
    for hidden in (foreign.id, wide.id, foreign.name):
        for name in ("KeyService/GetKey", "KeyService/RevokeKey"):
            assert admin.call(name, front, id=hidden).code == "NOT_FOUND"
    viewer = plane.caller(mine.secret)
    assert [one.id for one in viewer.call("KeyService/ListKeys", front).messages[0].data] == [mine.id]  # type: ignore[attr-defined] # as above
    assert viewer.call("KeyService/GetKey", front, id=wide.id).code == "NOT_FOUND"


@pytest.mark.parametrize("front", FRONTS)
def test_an_id_of_another_namespace_is_as_unknown_as_one_that_never_was(plane: Keyed, front: str) -> None:
    space, other = plane.namespace(), plane.namespace()
    task = waiting_task(plane, other)
    caller = plane.with_role("admin", namespaces=(space,))
    nowhere = "01900000-0000-7000-8000-000000000000"
    reads = ("GetTask", "WatchTask", "ReadTaskLogs", "ReadTaskOutput", "ListTaskArtifacts", "ExplainTask")
    for name in (*reads, "CancelTask", "DeleteTask"):
        there, none = (caller.call(f"TaskService/{name}", front, id=one) for one in (task, nowhere))
        assert there.code == "NOT_FOUND", (name, there)
        assert (there.code, there.reason, there.text.replace(task, nowhere)) == (none.code, none.reason, none.text)
    assert caller.call("TaskService/ListTasks", front).messages[0].total == 0  # type: ignore[attr-defined] # a page
    inside = {"job_id": "never", "namespace_id": other}
    batch = caller.call("TaskService/BatchCreateTasks", front, requests=[{"task": inside}])
    assert not any(one.HasField("task") for one in batch.messages[0].results) if batch.messages else True  # type: ignore[attr-defined] # its answers
    assert plane.admin.does("TaskService/ListTasks", namespace_id=other).total == 1


def test_a_key_looks_names_up_in_its_first_namespace(plane: Keyed) -> None:
    first, second = plane.namespace(), plane.namespace()
    caller = plane.with_role("operator", namespaces=(second, first))
    made = caller.does("JobService/CreateJob", job={"name": "where", "config": {"cmd": "true"}})
    assert made.namespace_id == second


def test_when_a_key_was_last_used_is_known_about_a_minute_later_or_at_the_end_of_the_server(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/pawl.db"
    with keyed(url, tmp_path) as one:
        one.admin.does("SystemService/GetInfo")
    with keyed(url, tmp_path) as again:
        keys = {key.name: key for key in again.admin.does("KeyService/ListKeys").data}
        assert keys["admin"].HasField("last_used_at")
        assert not keys["admin-2"].HasField("last_used_at")


# ---------------------------------------------------------------- refusals


def test_http_says_how_to_show_a_key_and_when_one_was_wrong(plane: Keyed) -> None:
    missing = plane.caller().http.get("/api/v1/jobs")
    assert (missing.status_code, missing.headers["www-authenticate"]) == (401, 'Bearer realm="pawl"')
    wrong = plane.caller("pawl_nonsense").http.get("/api/v1/jobs")
    assert (wrong.status_code, wrong.headers["www-authenticate"]) == (401, 'Bearer realm="pawl", error="invalid_token"')
    facts = next(one for one in wrong.json()["error"]["details"] if one["@type"].endswith("ErrorInfo"))
    assert facts["metadata"]["key"] == "unknown"


@pytest.mark.parametrize(
    "header",
    [
        "", "Bearer", "Basic cGF3bDpwYXds", "Token KEY", "KEY", "Bearer KEY KEY", "Bearer KEY, Bearer KEY",
        "Bearer " + "x" * 7000, "Bearer pawl_\u00e4",
    ],
    ids=range(9),
)  # fmt: skip
def test_whatever_else_is_shown_is_refused_without_being_repeated(plane: Keyed, header: str) -> None:
    shown = header.replace("KEY", plane.admin.key).encode("latin-1")
    answer = plane.caller().http.get("/api/v1/jobs", headers=[(b"authorization", shown)])
    assert answer.status_code == 401
    assert plane.admin.key.rpartition("_")[2] not in answer.text
    assert "xxxx" not in answer.text


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer  "])
def test_the_word_bearer_is_read_in_any_case(plane: Keyed, scheme: str) -> None:
    headers = {"authorization": f"{scheme} {plane.admin.key}"}
    assert plane.caller().http.get("/api/v1/jobs", headers=headers).status_code == 200


def test_pages_and_probes_are_open_and_the_metrics_are_for_those_who_may_read_them(plane: Keyed) -> None:
    nobody = plane.caller()
    for path in ("/docs", "/openapi.json", "/health", "/api/v1/system/health"):
        assert nobody.http.get(path).status_code == 200, path
    assert not any(check["message"] for check in nobody.http.get("/health").json()["checks"])
    assert any(check["message"] for check in plane.admin.http.get("/health").json()["checks"])
    assert nobody.http.get("/metrics").status_code == 401
    assert plane.with_role("agent").http.get("/metrics").status_code == 403
    assert plane.with_role("viewer", namespaces=(plane.namespace(),)).http.get("/metrics").status_code == 403
    assert plane.with_role("viewer").http.get("/metrics").status_code == 200


def test_a_page_of_another_site_gets_nothing_that_it_has_no_key_for(plane: Keyed) -> None:
    headers = {"origin": "https://elsewhere.example", "host": "elsewhere.example", "sec-fetch-site": "cross-site"}
    assert plane.caller().http.get("/api/v1/jobs", headers=headers).status_code == 401


def test_health_and_reflection_over_grpc_ask_for_no_key(plane: Keyed) -> None:
    channel = plane.caller().grpc.channel
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    assert check(health_pb2.HealthCheckRequest(), timeout=DEADLINE).status == health_pb2.HealthCheckResponse.SERVING
    for version in ("v1", "v1alpha"):
        listed = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=DEADLINE)
        assert "pawl.v1.KeyService" in {one.name for one in next(listed).list_services_response.service}


def test_metrics_can_be_opened_by_a_setting(tmp_path: Path) -> None:
    with keyed(f"sqlite:///{tmp_path}/pawl.db", tmp_path, open_metrics=True) as plane:
        assert plane.caller().http.get("/metrics").status_code == 200
        assert plane.caller().http.get("/api/v1/system/metrics").status_code == 401


# ---------------------------------------------------------------- all of it


def test_the_story_of_every_rpc_is_the_same_with_keys(plane: Keyed, wasm_module: bytes) -> None:
    tellings = {front: Memory(f"by-{front}", wasm_module) for front in FRONTS}
    names = {memory.namespace: "NAMESPACE" for memory in tellings.values()}
    admin: Any = plane.admin  # it has both fronts, which is all that is asked for
    for step in STORY[:8]:
        tell(admin, step, tellings, names)
    agents = [connected(plane.with_role("agent", namespaces=(space,)), "hand", space) for space in names]
    try:
        assert all(stream.first.wait(DEADLINE) and not stream.code for stream in agents)
        for step in STORY[8:]:
            tell(admin, step, tellings, names)
    finally:
        for stream in agents:
            stream.cut()


def test_no_file_no_span_and_no_line_of_the_server_holds_a_secret(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with (
        Collector() as collector,
        keyed(f"sqlite:///{tmp_path}/pawl.db", tmp_path, collector=collector.endpoint) as plane,
    ):
        plane.admin.does("SystemService/UpdateLogLevel", level="DEBUG")
        wanted = access_pb2.Key(name="traced", roles=["VIEWER"])
        made = plane.admin.does("KeyService/CreateKey", key=wanted, request_id="k-1")
        callers = [plane.caller(made.secret), plane.caller(made.secret + "x"), plane.caller("x" + made.secret)]
        for caller, front in itertools.product(callers, FRONTS):
            caller.call("SystemService/GetInfo", front)
            caller.call("JobService/CreateJob", front)
        for path in (f"keys/{made.secret}", f"jobs/{made.secret}", f"keys?key={made.secret}", f"no/{made.secret}"):
            answer = callers[0].http.get(f"/api/v1/{path}")  # people put keys where names belong
            assert answer.status_code in (400, 404)
            assert made.secret not in answer.text
            assert f"pawl_{made.prefix}_…" in answer.text or "?key=" in path
        plane.admin.does("SystemService/UpdateLogLevel")
        collector.until(lambda spans: any(one.name.endswith("CreateKey") for one in spans))
        secrets = [one.rpartition("_")[2].encode() for one in (made.secret, plane.admin.key)]
        told = b"".join(collector.raw) + "".join(capfd.readouterr()).encode()
    assert b"CreateKey" in told
    assert f"there is no job 'pawl_{made.prefix}_…'".encode() in told
    assert not any(secret in told for secret in secrets)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    held = b"".join(path.read_bytes() for path in files)
    assert digest_of(made.secret) in held  # it is these files that keys are kept in
    assert not any(secret in held for secret in secrets)


def test_guesses_do_not_keep_those_with_keys_waiting(plane: Keyed) -> None:
    right = plane.admin.key
    plane.admin.does("SystemService/GetInfo")
    guesses = _well_formed(200)
    with httpx.Client(base_url=plane.addresses.http, timeout=DEADLINE, limits=httpx.Limits(max_connections=50)) as http:
        codes: list[int] = []

        def guess(some: list[str]) -> None:
            tried = (http.get("/api/v1/jobs", headers={"authorization": f"Bearer {one}"}) for one in some)
            codes.extend(answer.status_code for answer in tried)

        threads = [threading.Thread(target=guess, args=(guesses[number::10],)) for number in range(10)]
        for thread in threads:
            thread.start()
        waits = [_seconds(lambda: plane.admin.does("SystemService/GetInfo")) for _ in range(20)]
        for thread in threads:
            thread.join(DEADLINE)
    assert set(codes) <= {401, 429}
    assert len(codes) == len(guesses)
    assert sorted(waits)[len(waits) // 2] < 0.5, waits
    assert right not in guesses


def _well_formed(count: int) -> list[str]:
    """Keys that nobody has, with the right check: each costs a look."""
    import secrets

    from controlplane.domain.key import PREFIX_LENGTH, SECRET_BYTES, write_key

    return [write_key(secrets.token_bytes(PREFIX_LENGTH + SECRET_BYTES))[1] for _ in range(count)]


def _seconds(what: Callable[[], Any]) -> float:
    began = time.monotonic()
    what()
    return time.monotonic() - began
