"""Files that say what there should be, without a server."""

import pytest
from pawl.manifest import BadManifest, compare, documents
from pawl.v1.job_pb2 import Job
from pawl.v1.schedule_pb2 import Schedule, ScheduleKind


def test_documents_come_in_the_order_in_which_they_need_each_other() -> None:
    text = "kind: Schedule\nname: s\n---\n[{kind: job, name: j}, {kind: Namespace, id: n}]"
    assert [one.kind for one in documents(text, "f")] == ["Namespace", "Job", "Schedule"]


def test_json_is_read_as_well() -> None:
    (one,) = documents('{"kind": "Job", "name": "j", "config": {"cmd": "true"}}', "f")
    assert one.paths == ("config.cmd",)


def test_a_schedules_kind_follows_from_its_times() -> None:
    cron, interval = documents(
        "[{kind: Schedule, name: a, cron_expression: '* * * * *'}, {kind: Schedule, name: b, interval_secs: 5}]", "f"
    )
    assert cron.wanted.kind == ScheduleKind.Kind.CRON
    assert interval.wanted.kind == ScheduleKind.Kind.INTERVAL
    assert "kind" in cron.paths


def test_an_instant_stays_an_instant() -> None:
    (one,) = documents("{kind: Schedule, name: a, interval_seconds: 5, start_time: 2026-01-31T08:00:00Z}", "f")
    assert one.wanted.start_time.ToJsonString() == "2026-01-31T08:00:00Z"


def test_what_the_file_leaves_out_is_not_compared() -> None:
    (one,) = documents("{kind: Job, name: j, config: {cmd: a}}", "f")
    current = Job(name="j", description="by hand")
    current.config.cmd = "a"
    current.config.args.append("x")
    assert compare(one, current).action == "unchanged"


def test_what_the_file_empties_is_a_change() -> None:
    (one,) = documents("{kind: Job, name: j, config: {args: []}}", "f")
    current = Job(name="j")
    current.config.args.append("x")
    step = compare(one, current)
    assert [(change.path, change.before, change.after) for change in step.changes] == [("config.args", ["x"], [])]


def test_a_schedule_may_name_its_job_by_name_or_id() -> None:
    current = Schedule(name="s", job_id="0190", job_name="report")
    for key in ("report", "0190"):
        (one,) = documents(f"{{kind: Schedule, name: s, job_id: '{key}'}}", "f")
        assert compare(one, current).action == "unchanged"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "nothing in it"),
        ("a: [", "not YAML"),
        ("just words", "must be an object"),
        ("kind: Pod\nname: x", "Namespace, Job, Schedule"),
        ("name: x", "add a line `kind: Job` "),
        ("name: x\nconfig: {cmd: 'true'}", "add a line `kind: Job` "),
        ("name: x\nkind:\nconfig: {cmd: 'true'}", "add a line `kind: Job` "),
        ("name: x\njob_id: y\ninterval_seconds: 5", "add a line `kind: Schedule` "),
        ("kind: Job", "name: must be given"),
        ("kind: Job\nname: x\nconfg: {}", "document 1, Job: confg"),
        ("kind: Job\nname: x\nenvironment: {DEBUG: yes}", "environment.DEBUG: must be text"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(text: str, words: str) -> None:
    with pytest.raises(BadManifest, match=words):
        documents(text, "f")
