"""Messages to domain values and back: nothing is lost, and what contradicts itself is refused."""

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import ParseDict
from pawl.v1 import job_pb2

from controlplane.api import translate
from controlplane.domain.errors import Invalid
from controlplane.domain.job import Job, JobStatus
from controlplane.engine.jobs import JobDraft

SEED: dict[str, Any] = {
    "name": "hello-world-job",
    "description": "says hello",
    "environment": {"LANG": "C"},
    "config": {"cmd": "echo", "args": ["Hello"], "timeout": 300, "max_retries": 3, "labels": {"zone": "a"}},
}


def stored(body: dict[str, Any] = SEED) -> Job:
    draft = translate.read_job(ParseDict(body, job_pb2.Job()))
    status = draft.status or JobStatus.ENABLED
    return Job("0" * 8, "default", draft.name, status, 1, 1, 1_700_000_000_123_456, 1_700_000_000_123_456, draft.spec)


def changed(patch: dict[str, Any], *paths: str) -> JobDraft:
    return translate.job_change(ParseDict(patch, job_pb2.Job()), FieldMask(paths=paths))(stored())


def test_what_is_shown_can_be_sent_back_and_changes_nothing() -> None:
    shown = translate.job(stored())
    draft = translate.job_change(shown, FieldMask())(stored())
    assert (draft.name, draft.spec, draft.status) == ("hello-world-job", stored().spec, JobStatus.ENABLED)


def test_defaults_are_printed() -> None:
    shown = translate.job(stored({"name": "a", "config": {"cmd": "true"}}))
    assert (shown.config.executor, shown.config.timeout, shown.config.retry_interval) == ("process", 3600, 30)
    assert (shown.config.capture_output, shown.config.max_stalled, shown.enabled) == (True, 3, True)
    assert shown.created_at.nanos == 123_456_000


def test_without_a_mask_the_fields_present_change_and_maps_are_replaced_whole() -> None:
    spec = changed({"config": {"timeout": 5, "labels": {"gpu": "yes"}}}).spec
    assert (spec.config.timeout, spec.config.cmd, spec.config.labels) == (5, "echo", {"gpu": "yes"})
    assert spec.environment == {"LANG": "C"}


def test_a_masked_field_that_is_absent_goes_back_to_its_default() -> None:
    config = changed({"config": {}}, "config.timeout", "config.max_retries", "job.environment").spec.config
    assert (config.timeout, config.max_retries, config.cmd) == (3600, 0, "echo")


def test_a_star_replaces_everything() -> None:
    spec = changed({"config": {"cmd": "true"}}, "*").spec
    assert (spec.description, spec.environment, spec.config.args, spec.config.cmd) == ("", {}, (), "true")


@pytest.mark.parametrize("path", ["nothing", "config.nothing", "environment.LANG", "version", "id", "config.timeout.x"])
def test_a_mask_that_names_nothing_changeable_is_refused(path: str) -> None:
    with pytest.raises(Invalid, match="update_mask"):
        changed({}, path)


@pytest.mark.parametrize("patch", [{"enabled": False}, {"status": "DISABLED"}, {"enabled": False, "status": 2}])
def test_enabled_and_status_are_two_spellings_of_one_thing(patch: dict[str, Any]) -> None:
    assert changed(patch).status is JobStatus.DISABLED


def test_enabled_and_status_must_not_contradict_each_other() -> None:
    with pytest.raises(Invalid, match=r"job\.enabled"):
        changed({"enabled": True, "status": "DISABLED"})


def test_a_status_that_does_not_exist_is_refused() -> None:
    with pytest.raises(Invalid, match="ENABLED"):
        translate.read_job(job_pb2.Job(name="a", status=7, config={"cmd": "true"}))  # type: ignore[arg-type]  # open enum


@pytest.mark.parametrize(("text", "version"), [("3", 3), ('"3"', 3), ("", None), ("*", None), ('W/"12"', 12)])
def test_etags_are_versions_with_or_without_quotes(text: str, version: int | None) -> None:
    assert translate.read_etag(text) == version


@pytest.mark.parametrize("text", ["abc", "-1", "1.5", "٣", "99999999999"])
def test_other_etags_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        translate.read_etag(text)
