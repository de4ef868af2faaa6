"""The one path of every call: roles, namespaces, request ids, repeats, deadlines."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pawl.v1 import job_pb2, types_pb2

from controlplane.api.access import anonymous
from controlplane.api.call import Call, Principal
from controlplane.api.methods import ALL_ROLES, ROLES, Method, table
from controlplane.api.pipeline import Pipeline
from controlplane.api.status import BY_ERROR, BY_REASON, Refused, failure_of
from controlplane.domain import errors
from controlplane.domain.errors import EtagMismatch, Forbidden, Invalid, NotFound, PawlError
from controlplane.telemetry import Tracing

METHODS = table()
JOBS = "pawl.v1.JobService/"


class Jobs:
    """JobService that only remembers its calls; `wait` holds them until it is set."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.wait: asyncio.Event | None = None
        self.arrivals: asyncio.Queue[Call] = asyncio.Queue()

    def __getattr__(self, name: str) -> Any:
        async def handle(call: Call, request: Any) -> Any:
            self.calls.append(call)
            self.arrivals.put_nowait(call)
            if self.wait is not None:
                await self.wait.wait()
            return Empty() if name.startswith("delete") else job_pb2.Job(name=name)

        return handle


def pipeline(jobs: Jobs, principal: Principal | None = None, tracing: Tracing | None = None) -> Pipeline:
    async def exists(namespace: str) -> bool:
        return namespace in ("default", "team")

    async def authenticate(metadata: Mapping[str, str]) -> Principal:
        return await anonymous(metadata) if principal is None else principal

    return Pipeline(
        {name: method for name, method in METHODS.items() if name.startswith(JOBS)},
        {"pawl.v1.JobService": jobs},
        namespace_exists=exists,
        authenticate=authenticate,
        tracing=tracing,
    )


async def call(pipe: Pipeline, name: str, request: Any, deadline: float | None = None, **metadata: str) -> Any:
    named = {key.replace("_", "-"): value for key, value in metadata.items()}
    return await pipe.unary(METHODS[JOBS + name], request, named, "grpc", deadline=deadline)


def create(**fields: Any) -> job_pb2.CreateJobRequest:
    return job_pb2.CreateJobRequest(job={"name": "a", "config": {"cmd": "true"}}, **fields)


# ---------------------------------------------------------------- the table


def test_every_rpc_has_its_roles_and_admin_may_call_all_of_them() -> None:
    rpcs = {(method.service, method.name.partition("/")[2]) for method in METHODS.values()}
    lines = {(service, rpc) for service, own in ROLES.items() for rpc in own}
    assert rpcs == lines
    assert all("admin" in method.roles <= ALL_ROLES for method in METHODS.values())


def test_a_viewer_may_call_exactly_what_reads() -> None:
    reads = ("Get", "List", "Watch", "Wait", "Read", "Explain", "Preview", "Download")
    for method in METHODS.values():
        assert method.mutates == (not method.name.partition("/")[2].startswith(reads)), method.name


def test_everything_that_changes_something_takes_a_request_id_or_is_repeatable_by_itself() -> None:
    without = {name for name, method in METHODS.items() if method.mutates and not method.has_request_id}
    assert {name.partition("/")[2] for name in without} == {
        "Connect",  # a stream with numbers of its own
        "AppendLogs",  # chunks have numbers
        "PutOutput",  # pieces have offsets
        "PutArtifact",  # likewise
        "ReportPlugin",  # saying it twice says the same
        "UpdateLogLevel",  # saying it twice says the same
        "UploadPlugin",  # in its first message
        "BatchCreateTasks",  # one in each item
    }


def test_a_server_with_a_hole_does_not_start() -> None:
    async def exists(namespace: str) -> bool:
        return True

    with pytest.raises(LookupError, match="has no handler"):
        Pipeline(METHODS, {}, namespace_exists=exists)


# ---------------------------------------------------------------- who


async def test_a_role_that_does_not_fit_is_forbidden_before_anything_is_looked_at() -> None:
    jobs = Jobs()
    viewer = Principal("ann", None, frozenset({"viewer"}))
    with pytest.raises(Forbidden, match="ann may not call"):
        await call(pipeline(jobs, viewer), "CreateJob", job_pb2.CreateJobRequest())
    await call(pipeline(jobs, viewer), "GetJob", job_pb2.GetJobRequest(id="a"))
    assert len(jobs.calls) == 1


async def test_a_credential_is_bound_to_its_namespace() -> None:
    jobs = Jobs()
    bound = Principal("ann", "team", ALL_ROLES)
    await call(pipeline(jobs, bound), "GetJob", job_pb2.GetJobRequest(id="a"))
    assert jobs.calls[0].namespace_id == "team"
    with pytest.raises(Forbidden):
        await call(pipeline(jobs, bound), "GetJob", job_pb2.GetJobRequest(id="a", namespace_id="default"))


# ---------------------------------------------------------------- where


async def test_the_namespace_is_the_requests_then_the_resources_then_the_headers_then_default() -> None:
    jobs = Jobs()
    pipe = pipeline(jobs)
    get = job_pb2.GetJobRequest
    await call(pipe, "GetJob", get(id="a"))
    await call(pipe, "GetJob", get(id="a"), pawl_namespace="team")
    await call(pipe, "GetJob", get(id="a", namespace_id="default"), pawl_namespace="team")
    request = create()
    request.job.namespace_id = "team"
    await call(pipe, "CreateJob", request)
    assert [one.namespace_id for one in jobs.calls] == ["default", "team", "default", "team"]


@pytest.mark.parametrize("namespace", ["nowhere", "x" * 100_000, "a b", "Ünï"])
async def test_a_namespace_that_does_not_exist_is_not_found(namespace: str) -> None:
    with pytest.raises(NotFound) as caught:
        await call(pipeline(Jobs()), "GetJob", job_pb2.GetJobRequest(id="a", namespace_id=namespace))
    assert caught.value.reason == "NAMESPACE_NOT_FOUND"


# ---------------------------------------------------------------- what


async def test_everything_that_is_missing_is_named_at_once_by_its_path() -> None:
    request = job_pb2.CreateJobRequest(job={"config": {"wasm": {}}}, request_id="ü")
    with pytest.raises(Invalid) as caught:
        await call(pipeline(Jobs()), "CreateJob", request)
    assert [one.field for one in caught.value.violations] == ["job.name", "job.config.wasm.plugin", "request_id"]


async def test_a_nul_character_is_found_wherever_it_hides() -> None:
    request = create()
    request.job.config.args.append("a\0")
    request.job.environment["a\0"] = "b"
    request.job.config.labels["l"] = "\0"
    with pytest.raises(Invalid) as caught:
        await call(pipeline(Jobs()), "CreateJob", request)
    found = [one.field for one in caught.value.violations]
    assert sorted(found) == ["job.config.args", "job.config.labels[l]", "job.environment[a\\0]"]


async def test_an_update_need_not_repeat_what_a_create_requires() -> None:
    await call(pipeline(Jobs()), "UpdateJob", job_pb2.UpdateJobRequest(job={"id": "a"}))


async def test_if_match_is_the_etag_and_must_not_contradict_it() -> None:
    jobs = Jobs()
    request = job_pb2.UpdateJobRequest(job={"id": "a"})
    await call(pipeline(jobs), "UpdateJob", request, if_match='"3"')
    assert (request.etag, jobs.calls[0].if_match) == ('"3"', True)
    with pytest.raises(Invalid):
        await call(pipeline(jobs), "UpdateJob", job_pb2.UpdateJobRequest(job={"id": "a"}, etag="2"), if_match='"3"')
    with pytest.raises(Invalid):
        await call(pipeline(jobs), "EnableJob", job_pb2.EnableJobRequest(id="a"), if_match='"3"')


async def test_idempotency_key_is_the_request_id_and_must_not_contradict_it() -> None:
    request = create()
    await call(pipeline(Jobs()), "CreateJob", request, idempotency_key="k")
    assert request.request_id == "k"
    await call(pipeline(Jobs()), "CreateJob", create(request_id="k"), idempotency_key="k")
    with pytest.raises(Invalid, match="request_id: contradicts the header Idempotency-Key"):
        await call(pipeline(Jobs()), "CreateJob", create(request_id="other"), idempotency_key="k")


# ---------------------------------------------------------------- repeats


async def test_the_same_request_has_the_same_fingerprint_whatever_its_id() -> None:
    jobs = Jobs()
    pipe = pipeline(jobs)
    await call(pipe, "CreateJob", create(request_id="1"))
    await call(pipe, "CreateJob", create(), idempotency_key="2")
    await call(pipe, "CreateJob", create())
    first, second, third = (one.idempotency for one in jobs.calls)
    assert first is not None
    assert second is not None
    assert (first.request_id, second.request_id, third) == ("1", "2", None)
    assert first.fingerprint == second.fingerprint
    other = create(request_id="1")
    other.job.description = "x"
    await call(pipe, "CreateJob", other)
    assert jobs.calls[3].idempotency is not None
    assert jobs.calls[3].idempotency.fingerprint != first.fingerprint


async def test_a_repeat_waits_for_the_first_which_is_still_in_flight() -> None:
    jobs = Jobs()
    jobs.wait = asyncio.Event()
    pipe = pipeline(jobs)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(call(pipe, "CreateJob", create(request_id="1")))
        await jobs.arrivals.get()
        second = group.create_task(call(pipe, "CreateJob", create(request_id="1")))
        other = group.create_task(call(pipe, "CreateJob", create(request_id="2")))
        second_to_arrive = await jobs.arrivals.get()
        assert second_to_arrive.idempotency is not None
        assert second_to_arrive.idempotency.request_id == "2"
        jobs.wait.set()
    assert len(jobs.calls) == 3
    assert first.done()
    assert second.done()
    assert other.done()


async def test_a_repeat_that_cannot_wait_longer_is_told_to_come_again() -> None:
    jobs = Jobs()
    jobs.wait = asyncio.Event()
    pipe = pipeline(jobs)
    async with asyncio.TaskGroup() as group:
        group.create_task(call(pipe, "CreateJob", create(request_id="1")))
        await jobs.arrivals.get()
        with pytest.raises(Refused) as caught:
            await call(pipe, "CreateJob", create(request_id="1"), deadline=time.monotonic() + 0.5)
        jobs.wait.set()
    failure = failure_of(caught.value)
    assert (failure.reason, failure.code.name, failure.http, failure.retry_after) == (
        "REQUEST_IN_FLIGHT",
        "ABORTED",
        409,
        "1",
    )


# ---------------------------------------------------------------- errors, traces


def test_every_domain_error_has_its_line_in_the_table() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PawlError)}
    assert kinds - {PawlError} == BY_ERROR.keys()
    assert BY_REASON.keys() <= set(types_pb2.ErrorReasons.Reason.keys())
    assert {kind.reason for kind in kinds} <= set(types_pb2.ErrorReasons.Reason.keys())


def test_a_stale_version_is_409_for_users_of_the_field_and_412_for_if_match() -> None:
    assert failure_of(EtagMismatch("x")).http == 409
    assert failure_of(EtagMismatch("x"), if_match=True).http == 412


async def test_a_span_is_made_only_where_the_caller_or_the_ratio_samples() -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing(exporter)
    jobs = Jobs()
    pipe = pipeline(jobs, tracing=tracing)
    request = job_pb2.GetJobRequest(id="a")
    await call(pipe, "GetJob", request)
    await call(pipe, "GetJob", request, traceparent=f"00-{'1' * 32}-{'2' * 16}-00")
    await call(pipe, "GetJob", request, traceparent=f"00-{'3' * 32}-{'4' * 16}-01")
    tracing.shutdown()
    spans = exporter.get_finished_spans()
    assert [(span.name, f"{span.context.trace_id:032x}") for span in spans] == [(JOBS + "GetJob", "3" * 32)]
    assert jobs.calls[2].trace.traceparent == f"00-{'3' * 32}-{spans[0].context.span_id:016x}-01"
    assert jobs.calls[1].trace.traceparent == f"00-{'1' * 32}-{'2' * 16}-00"


def test_a_method_knows_where_its_namespace_is() -> None:
    found: Method = METHODS[JOBS + "UpdateJob"]
    assert (found.namespace_field, found.resource_field, found.namespaced) == (False, "job", True)
    assert not METHODS["pawl.v1.NamespaceService/CreateNamespace"].namespaced
