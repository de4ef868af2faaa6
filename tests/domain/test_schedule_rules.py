"""What a schedule may say beside its slots, and how it becomes a rule."""

from dataclasses import replace

from controlplane.domain.plugin import PluginStatus, plugin_problems, reported
from controlplane.domain.schedule import Kind
from controlplane.domain.schedule_rules import Schedule, ScheduleSpec, ScheduleStatus, schedule_problems

DAILY = Schedule(
    id="",
    namespace_id="default",
    name="daily",
    job_id="",
    kind=Kind.CRON,
    status=ScheduleStatus.ACTIVE,
    timezone="UTC",
    spec=ScheduleSpec(cron_expression="0 12 * * *"),
    parameters=None,
    parameters_type=None,
    next_fire_at=None,
    last_fire_at=None,
    fire_count=0,
    version=1,
    created_at=1_700_000_000_000_000,
    updated_at=0,
)


def fields(one: Schedule) -> list[str]:
    return [problem.field for problem in schedule_problems(one)]


def test_problems_name_their_fields() -> None:
    assert fields(DAILY) == []
    spec = ScheduleSpec(cron_expression="nonsense", environment={"PAWL_X": "1"}, tags={"": "x"}, priority=1_001)
    assert fields(replace(DAILY, name="item", spec=spec)) == [
        "schedule.name",
        "schedule.environment.PAWL_X",
        "schedule.tags.",
        "schedule.priority",
        "schedule.cron_expression",
    ]


def test_kinds_that_are_not_offered_are_refused() -> None:
    assert fields(replace(DAILY, kind=Kind.DAEMON)) == ["schedule.kind"]


def test_an_endless_expression_is_refused_before_it_is_read() -> None:
    spec = ScheduleSpec(cron_expression="0," * 10_000 + "0 * * * *")
    assert fields(replace(DAILY, spec=spec)) == ["schedule.cron_expression"]


def test_hashed_slots_follow_the_name() -> None:
    hashed = replace(DAILY, spec=ScheduleSpec(cron_expression="H H * * *"))
    assert hashed.rule() == replace(hashed, id="another", version=7).rule()
    assert hashed.rule() != replace(hashed, name="other").rule()


def test_a_plugin_version_needs_a_name() -> None:
    assert [one.field for one in plugin_problems("", "1.0")] == ["name"]
    assert [one.field for one in plugin_problems("a", "1@0")] == ["version"]
    assert list(plugin_problems("", "")) == list(plugin_problems("a", "1.0+build_2")) == []


def test_ready_is_not_undone() -> None:
    assert reported(PluginStatus.STORED, False) is PluginStatus.REJECTED
    assert reported(PluginStatus.REJECTED, True) is PluginStatus.READY
    assert reported(PluginStatus.READY, False) is PluginStatus.READY
