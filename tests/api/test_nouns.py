"""Jobs, namespaces, schedules and plugins as callers meet them: through the pipeline, to the rows and back."""

from datetime import datetime
from typing import Any

import pytest
from pawl.v1 import plugin_pb2

from controlplane.domain.errors import AlreadyExists, EtagMismatch, IllegalTransition, Invalid, NotFound
from tests.api.conftest import Nouns
from tests.engine.test_plugins import module

JOB: dict[str, Any] = {
    "namespace_id": "default",
    "name": "hello-world-job",
    "description": "says hello",
    "environment": {"MESSAGE": "Hello!"},
    "config": {
        "timeout": 300,
        "max_retries": 2,
        "retry_interval": 30,
        "cmd": "bash",
        "args": ["-c", "echo $MESSAGE"],
        "capture_output": True,
        "max_output_size": 1024000,
    },
}
SCHEDULE: dict[str, Any] = {
    "name": "every-minute",
    "kind": "INTERVAL",
    "cron_expression": None,
    "interval_seconds": 60,
    "enabled": True,
    "start_time": None,
    "end_time": None,
}


async def test_a_job_is_made_read_changed_and_sent_back(nouns: Nouns) -> None:
    made = await nouns("Job/CreateJob", {"job": JOB})
    assert (made["status"], made["enabled"], made["revision"], made["version"]) == ("ENABLED", True, 1, 1)
    assert made["config"] | JOB["config"] == made["config"]
    assert made["config"]["grace_seconds"] == 10
    read = await nouns("Job/GetJob", {"id": "hello-world-job"})
    assert read == made
    assert nouns.headers["etag"] == '"1"'
    assert await nouns("Job/UpdateJob", {"job": read, "etag": '"1"'}) == read
    changed = await nouns("Job/UpdateJob", {"job": {"name": "hello-world-job", "config": {"timeout": 5}}})
    assert (changed["config"]["timeout"], changed["config"]["cmd"], changed["revision"]) == (5, "bash", 2)
    with pytest.raises(EtagMismatch):
        await nouns("Job/UpdateJob", {"job": {"id": made["id"], "enabled": False}, "etag": "1"})
    disabled = await nouns("Job/DisableJob", {"id": made["id"]})
    assert (disabled["status"], disabled["enabled"], disabled["revision"]) == ("DISABLED", False, 2)
    assert (await nouns("Job/EnableJob", {"id": made["id"]}))["enabled"] is True
    await nouns("Job/DeleteJob", {"id": "hello-world-job"})
    with pytest.raises(NotFound):
        await nouns("Job/GetJob", {"id": made["id"]})


async def test_the_limits_of_the_users_guide_come_back_as_they_were_sent(nouns: Nouns) -> None:
    limits = {
        "max_memory_mb": 1024,
        "max_cpu_percent": 0.8,
        "max_execution_time_secs": 1800,
        "max_output_size_bytes": 10485760,
    }
    config = {"cmd": "true", "timeout": 3600, "resource_limits": limits}
    made = await nouns("Job/CreateJob", {"job": {"name": "limited", "config": config}})
    assert made["config"]["resource_limits"] == limits
    assert (made["config"]["timeout"], made["config"]["max_output_size"]) == (3600, 10485760)
    assert await nouns("Job/UpdateJob", {"job": made}) == made
    change = {"name": "limited", "config": {"resource_limits": {"max_processes": 9}}}
    changed = await nouns("Job/UpdateJob", {"job": change})
    assert changed["config"]["resource_limits"] == limits | {"max_processes": 9}
    assert "resource_limits" not in (await nouns("Job/CreateJob", {"job": JOB}))["config"]


async def test_a_default_gives_way_to_a_larger_limit_and_what_was_given_does_not(nouns: Nouns) -> None:
    limits = {"max_execution_time_secs": 7200, "max_output_size_bytes": 2_000_000}
    shown = await nouns("Job/CreateJob", {"job": {"name": "a", "config": {"cmd": "x", "resource_limits": limits}}})
    assert (shown["config"]["timeout"], shown["config"]["max_output_size"]) == (7200, 2_000_000)
    config = {"cmd": "x", "timeout": 60, "max_output_size": 9, "resource_limits": limits}
    shown = await nouns("Job/CreateJob", {"job": {"name": "b", "config": config}})
    assert (shown["config"]["timeout"], shown["config"]["max_output_size"]) == (60, 9)


async def test_a_limit_out_of_bounds_is_named_by_its_field(nouns: Nouns) -> None:
    limits = {"max_memory_mb": 0, "max_cpu_percent": -1, "max_execution_time_secs": 1e18, "max_open_files": 3}
    with pytest.raises(Invalid) as refused:
        await nouns("Job/CreateJob", {"job": {"name": "a", "config": {"cmd": "x", "resource_limits": limits}}})
    assert {one.field for one in refused.value.violations} == {f"job.config.resource_limits.{name}" for name in limits}


async def test_every_problem_of_a_job_is_named_at_once(nouns: Nouns) -> None:
    body = {"name": "-", "config": {"cmd": "", "timeout": -1, "environment": {"PAWL_X": "1"}}}
    with pytest.raises(Invalid) as refused:
        await nouns("Job/CreateJob", {"job": body})
    named = {one.field for one in refused.value.violations}
    assert named == {"job.name", "job.config.cmd", "job.config.timeout", "job.config.environment.PAWL_X"}


async def test_a_repeated_create_is_the_same_job(nouns: Nouns) -> None:
    made = await nouns("Job/CreateJob", {"job": JOB, "request_id": "r"})
    assert await nouns("Job/CreateJob", {"job": JOB, "request_id": "r"}) == made
    with pytest.raises(AlreadyExists, match="request_id"):
        await nouns("Job/CreateJob", {"job": JOB | {"name": "x"}, "request_id": "r"})


async def test_jobs_are_paged_with_tokens(nouns: Nouns) -> None:
    for number in range(5):
        await nouns("Job/CreateJob", {"job": JOB | {"name": f"job-{number}"}})
    first = await nouns("Job/ListJobs", {"page": {"page_size": 3}, "order_by": ["name"]})
    assert (first["total"], first["has_more"], len(first["data"])) == (5, True, 3)
    page = {"page_size": 3, "page_token": first["next_page_token"]}
    second = await nouns("Job/ListJobs", {"page": page, "order_by": ["name"]})
    assert [one["name"] for one in first["data"] + second["data"]] == [f"job-{number}" for number in range(5)]
    named = await nouns("Job/ListJobs", {"filter": {"name": {"ends_with": "-4"}}})
    assert [one["name"] for one in named["data"]] == ["job-4"]


async def test_a_schedule_is_made_by_the_job_s_name_and_changes_its_kind(nouns: Nouns) -> None:
    job = await nouns("Job/CreateJob", {"job": JOB})
    made = await nouns("Schedule/CreateSchedule", {"schedule": SCHEDULE | {"job_id": "hello-world-job"}})
    assert (made["job_id"], made["job_name"], made["status"]) == (job["id"], "hello-world-job", "ACTIVE")
    assert (made["timezone"], made["interval_seconds"], made["enabled"]) == ("UTC", 60, True)
    created, following = (datetime.fromisoformat(made[name]) for name in ("created_at", "next_fire_at"))
    assert (following - created).total_seconds() == 60
    assert await nouns("Schedule/UpdateSchedule", {"schedule": made}) == made
    noon = {"name": "every-minute", "kind": "CRON", "cron_expression": "0 0 12 * * ?", "timezone": "Europe/Berlin"}
    changed = await nouns("Schedule/UpdateSchedule", {"schedule": noon, "etag": "1"})
    assert "interval_seconds" not in changed
    assert changed["version"] == 2
    shown = await nouns("Schedule/PreviewSchedule", {"schedule": {"id": made["id"]}, "count": 2})
    assert [local[11:19] for local in shown["local_fires"]] == ["12:00:00", "12:00:00"]
    assert shown["fires"][0] == changed["next_fire_at"]
    disabled = await nouns("Schedule/DisableSchedule", {"id": "every-minute"})
    assert (disabled["status"], "next_fire_at" in disabled) == ("DISABLED", False)
    assert (await nouns("Schedule/ListScheduleFires", {"id": "every-minute"}))["total"] == 0
    await nouns("Schedule/DeleteSchedule", {"id": "every-minute"})
    assert (await nouns("Schedule/ListSchedules", {}))["data"] == []


async def test_a_schedule_that_is_only_thought_of_has_a_preview(nouns: Nouns) -> None:
    thought = {"kind": "CRON", "cron_expression": "0 2 * * *", "timezone": "Europe/Berlin"}
    shown = await nouns("Schedule/PreviewSchedule", {"schedule": thought, "after": "2026-10-24T12:00:00Z", "count": 1})
    assert (shown["fires"], shown["local_fires"]) == (["2026-10-25T00:00:00Z"], ["2026-10-25T02:00:00+02:00"])
    with pytest.raises(Invalid, match=r"schedule\.timezone"):
        await nouns("Schedule/PreviewSchedule", {"schedule": thought | {"timezone": "Mars"}})


async def test_a_namespace_is_made_described_and_deleted_with_what_is_in_it(nouns: Nouns) -> None:
    with pytest.raises(NotFound) as unknown:
        await nouns("Job/CreateJob", {"job": JOB | {"namespace_id": "team"}})
    assert unknown.value.reason == "NAMESPACE_NOT_FOUND"
    await nouns("Namespace/CreateNamespace", {"namespace": {"id": "team"}})
    made = await nouns("Job/CreateJob", {"job": JOB | {"namespace_id": "team"}})
    with pytest.raises(NotFound):
        await nouns("Job/GetJob", {"id": made["id"]})
    described = {"id": "team", "description": "ours"}
    changed = await nouns("Namespace/UpdateNamespace", {"namespace": described})
    assert (changed["description"], changed["version"], nouns.headers["etag"]) == ("ours", 2, '"2"')
    assert [one["id"] for one in (await nouns("Namespace/ListNamespaces", {}))["data"]] == ["default", "team"]
    await nouns("Namespace/DeleteNamespace", {"id": "team"})
    with pytest.raises(NotFound):
        await nouns("Job/GetJob", {"id": made["id"], "namespace_id": "team"})
    with pytest.raises(IllegalTransition):
        await nouns("Namespace/DeleteNamespace", {"id": "default", "cascade": "CANCEL"})


async def test_two_ways_to_send_a_module_make_the_same_plugin(nouns: Nouns) -> None:
    bytes_ = module()
    start = plugin_pb2.UploadPluginStart(name="words", version="1.0", request_id="r")
    parts = [plugin_pb2.UploadPluginRequest(start=start)]
    parts += [plugin_pb2.UploadPluginRequest(data=bytes_[at : at + 7]) for at in range(0, len(bytes_), 7)]
    made = await nouns.upload(*parts)
    assert await nouns.upload(*parts) == made
    assert (made["status"], made["entries"]) == ("STORED", ["execute_task"])
    assert await nouns.download("words@1.0") == bytes_
    for wrong in (parts[1:], [parts[0], parts[0]]):
        with pytest.raises(Invalid, match="start"):
            await nouns.upload(*wrong)


async def test_a_wasm_job_shows_the_digest_and_can_be_sent_back(nouns: Nouns) -> None:
    start = plugin_pb2.UploadPluginStart(name="words", version="1.0")
    stored = await nouns.upload(
        plugin_pb2.UploadPluginRequest(start=start), plugin_pb2.UploadPluginRequest(data=module())
    )
    config = {"executor": "wasm", "wasm": {"plugin": "words"}}
    made = await nouns("Job/CreateJob", {"job": {"name": "w", "config": config}})
    assert made["config"]["wasm"] == {"plugin": f"sha256:{stored['digest']}", "entry": "execute_task", "config": {}}
    assert await nouns("Job/UpdateJob", {"job": made}) == made
    report = {"id": stored["digest"], "agent_id": "a1", "compiles": True}
    assert (await nouns("Plugin/ReportPlugin", report))["status"] == "READY"
    with pytest.raises(IllegalTransition):
        await nouns("Plugin/DeletePlugin", {"id": "words"})
    await nouns("Job/DeleteJob", {"id": "w"})
    await nouns("Plugin/DeletePlugin", {"id": "words"})
    with pytest.raises(NotFound):
        await nouns.download("words")
