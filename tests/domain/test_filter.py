"""What a filter may say, what it means, and how a wrong one is answered."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.errors import Invalid
from controlplane.domain.filter import (
    COMPARISON,
    EVERYTHING,
    MAX_CONDITIONS,
    MAX_LIST,
    Field,
    Kind,
    Queryable,
    in_order,
    matches,
    parse_filter,
    parse_order,
)

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
STATUS = {"PENDING": 1, "RUNNING": 10, "FAILED": 90}
TASK = Queryable(
    "task",
    (
        Field("id", Kind.ID),
        Field("name", Kind.TEXT),
        Field("hostname", Kind.TEXT, COMPARISON),
        Field("priority", Kind.INT),
        Field("progress", Kind.FLOAT),
        Field("cancel_requested", Kind.BOOL),
        Field("created_at", Kind.INSTANT),
        Field("status", Kind.ENUM, enum_values=STATUS, enum_name="pawl.v1.Task.Status", aliases=("task_state",)),
        Field("tags", Kind.TAGS),
    ),
)
ROW: dict[str, Any] = {
    "id": ID,
    "name": "Nightly-report",
    "hostname": None,
    "priority": 500,
    "progress": 0.5,
    "cancel_requested": False,
    "created_at": 1_767_225_600_000_000,  # 2026-01-01T00:00:00Z
    "status": 10,
    "tags": {"env": "prod"},
}


def passes(filter_: object) -> bool:
    return matches(parse_filter(filter_, TASK), ROW)


def refusal(filter_: object) -> Invalid:
    with pytest.raises(Invalid) as refused:
        parse_filter(filter_, TASK)
    return refused.value


@pytest.mark.parametrize(
    "filter_",
    [
        {"status": {"eq": 10}},
        {"status": {"eq": 10.0}},
        {"status": {"eq": "10"}},
        {"status": {"eq": "running"}},
        {"status": {"eq": "Task.Status.RUNNING"}},
        {"status": {"eq": "pawl.v1.Task.Status.RUNNING"}},
        {"status": {"$in": ["FAILED", 10]}},
        {"status": {"gte": "RUNNING", "lt": 90}},
        {"task_state": {"eq": "RUNNING"}},
        {"taskState": {"eq": "RUNNING"}},
        {"id": {"eq": ID.upper()}},
        {"id": {"not_in": []}},
        {"name": {"contains": "-rep", "startsWith": "Night", "$endsWith": "report"}},
        {"name": {"starts_with": ""}},
        {"name": {"gt": "Nightly"}},
        {"hostname": {"null": True}},
        {"hostname": {"eq": None}},
        {"hostname": {"not": "a"}},
        {"hostname": {"notIn": ["a", "b"]}},
        {"name": {"not": None}},
        {"priority": {"eq": 500.0}},
        {"priority": {"lt": "9223372036854775807"}},
        {"progress": {"eq": "5e-1"}},
        {"cancelRequested": {"eq": False}},
        {"createdAt": {"eq": "2026-01-01T00:00:00Z"}},
        {"created_at": {"eq": "2026-01-01t02:30:00.000000+02:30"}},
        {"created_at": {"eq": "2025-12-31T19:00:00-05:00"}},
        {"created_at": {"eq": "2026-01-01T00:00:00.000000999Z"}},
        {"tags.env": {"eq": "prod"}},
        {"tags.env": {"in": ["dev", "prod"]}},
        [{"priority": {"eq": 1}}, {"priority": {"eq": 500}}],
        [{"priority": {"eq": 1}}, {}],
        None,
        {},
        [],
    ],
)
def test_a_row_passes(filter_: object) -> None:
    assert passes(filter_)


@pytest.mark.parametrize(
    "filter_",
    [
        {"status": {"eq": 10}, "priority": {"eq": 1}},
        {"name": {"contains": "nightly"}},
        {"name": {"starts_with": "night"}},
        {"name": {"contains": "%"}},
        {"hostname": {"eq": "a"}},
        {"hostname": {"lt": "a"}},
        {"hostname": {"null": False}},
        {"name": {"eq": None}},
        {"id": {"in": []}},
        {"tags.env": {"eq": "dev"}},
        {"tags.other": {"eq": "prod"}},
    ],
)
def test_a_row_is_left_out(filter_: object) -> None:
    assert not passes(filter_)


@pytest.mark.parametrize(
    ("filter_", "field"),
    [
        ("status", "filter"),
        (["status"], "filter[0]"),
        ({"status": "RUNNING"}, "filter.status"),
        ({"status": {}}, "filter.status"),
        ({"status": {"eq": "RUNING"}}, "filter.status.eq"),
        ({"status": {"eq": "Job.Status.RUNNING"}}, "filter.status.eq"),
        ({"status": {"eq": 11}}, "filter.status.eq"),
        ({"status": {"eq": True}}, "filter.status.eq"),
        ({"status": {"in": "RUNNING"}}, "filter.status.in"),
        ({"status": {"in": ["RUNNING", []]}}, "filter.status.in[1]"),
        ({"id": {"eq": "17"}}, "filter.id.eq"),
        ({"id": {"eq": 17}}, "filter.id.eq"),
        ([{}, {"id": {"not": "x"}}], "filter[1].id.not"),
        ({"name": {"eq": 5}}, "filter.name.eq"),
        ({"name": {"eq": "a\0"}}, "filter.name.eq"),
        ({"name": {"eq": "\ud800"}}, "filter.name.eq"),
        ({"name": {"eq": "a" * 5000}}, "filter.name.eq"),
        ({"name": {"null": "yes"}}, "filter.name.null"),
        ({"priority": {"eq": 1.5}}, "filter.priority.eq"),
        ({"priority": {"eq": True}}, "filter.priority.eq"),
        ({"priority": {"eq": float(2**60)}}, "filter.priority.eq"),
        ({"priority": {"eq": "9223372036854775808"}}, "filter.priority.eq"),
        ({"priority": {"eq": float("nan")}}, "filter.priority.eq"),
        ({"priority": {"lt": None}}, "filter.priority.lt"),
        ({"progress": {"eq": "inf"}}, "filter.progress.eq"),
        ({"progress": {"eq": 10**400}}, "filter.progress.eq"),
        ({"cancel_requested": {"eq": 1}}, "filter.cancel_requested.eq"),
        ({"created_at": {"eq": 1767225600}}, "filter.created_at.eq"),
        ({"created_at": {"eq": "2026-01-01"}}, "filter.created_at.eq"),
        ({"created_at": {"eq": "2026-01-01T00:00:00"}}, "filter.created_at.eq"),
        ({"created_at": {"eq": "2026-02-29T00:00:00Z"}}, "filter.created_at.eq"),
        ({"created_at": {"eq": "2026-01-01T24:00:00Z"}}, "filter.created_at.eq"),
        ({"tags": {"eq": "prod"}}, "filter.tags"),
        ({"tags.env": {"eq": 5}}, "filter.tags.env.eq"),
        ({"status": {"eq": 1}, "taskState": {"eq": 1}}, "filter.status"),
        ({"status": {"eq": 1, "$eq": 1}}, "filter.status.eq"),
        ({"id": {"in": [ID] * (MAX_LIST + 1)}}, "filter.id.in"),
        ([{"priority": {"gt": 1, "lt": 2}}] * MAX_CONDITIONS, "filter"),
        ([{}] * 101, "filter"),
        ([{"priority": {"in": [str(n) for n in range(1000)]}}] * 6, "filter"),
    ],
)
def test_a_wrong_filter_is_refused_and_names_the_place(filter_: object, field: str) -> None:
    error = refusal(filter_)
    assert [violation.field for violation in error.violations] == [field]
    assert error.reason == "INVALID_FIELD"
    assert error.message.startswith(field)


def test_an_unknown_field_is_answered_with_those_that_exist() -> None:
    error = refusal({"statuss": {"eq": 1}})
    assert error.reason == "INVALID_FILTER"
    assert error.violations[0].field == "filter.statuss"
    assert "id, name, hostname, priority" in error.message
    assert "tags.<key>" in error.message


def test_an_unknown_operator_is_answered_with_those_the_field_takes() -> None:
    error = refusal({"tags.env": {"like": "x"}})
    assert error.reason == "INVALID_FILTER"
    assert error.message.endswith("there are eq, in")


def test_an_operator_of_another_type_is_refused() -> None:
    error = refusal({"hostname": {"contains": "x"}})
    assert error.reason == "INVALID_FILTER"
    assert error.violations[0].field == "filter.hostname.contains"


def test_an_object_in_another_order_is_the_same_filter() -> None:
    one = parse_filter({"status": {"in": [10, "PENDING"]}, "id": {"eq": ID}}, TASK)
    other = parse_filter({"id": {"eq": ID.upper()}, "status": {"in": ["pending", "RUNNING", 1]}}, TASK)
    assert one == other
    assert parse_filter([{}, {"id": {"eq": ID}}], TASK) == EVERYTHING


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from([*TASK.by_spelling, "tags.env", "tags.", "nothing"]) | st.text(max_size=8)
operators = st.sampled_from(["eq", "$not", "in", "not_in", "lt", "contains", "null"]) | st.text(max_size=4)


def test_of_several_mistakes_the_same_is_told_in_whatever_order_they_come() -> None:
    unread = {"contains": "x", "nope": 1}
    wrong: dict[str, dict[str, object]] = {"priority": unread, "status": {"eq": "GONE"}, "nope": {}}
    turned = {name: dict(reversed(of.items())) for name, of in reversed(wrong.items())}
    assert str(refusal(wrong)) == str(refusal(turned))


@given(st.dictionaries(names, st.dictionaries(operators, json_values, max_size=2) | json_values, max_size=3))
def test_whatever_is_sent_is_read_or_refused_cleanly(filter_: object) -> None:
    try:
        tree = parse_filter(filter_, TASK)
    except Invalid as error:
        assert error.violations
    else:
        assert matches(tree, ROW) in (True, False)


def test_an_order_ends_with_the_key_in_the_direction_of_its_last_term() -> None:
    order = parse_order(["status", "-createdAt"], TASK)
    assert [(term.field.name, term.descending) for term in order] == [
        ("status", False),
        ("created_at", True),
        ("id", True),
    ]


def test_no_order_is_the_default_one() -> None:
    assert parse_order([], TASK) == parse_order(["-created_at"], TASK) == parse_order(["-created_at,-id"], TASK)


@pytest.mark.parametrize(
    ("order_by", "reason"),
    [
        (["nothing"], "INVALID_FILTER"),
        (["--status"], "INVALID_FILTER"),
        (["-"], "INVALID_FILTER"),
        (["tags"], "INVALID_FILTER"),
        (["status", "-status"], "INVALID_FIELD"),
        (["id"] * 9, "INVALID_FIELD"),
    ],
)
def test_a_wrong_order_is_refused(order_by: list[str], reason: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_order(order_by, TASK)
    assert refused.value.reason == reason
    assert refused.value.violations[0].field == "order_by"


def test_rows_without_a_value_come_last_both_ways() -> None:
    rows: list[dict[str, Any]] = [{"id": "1", "priority": None}, {"id": "2", "priority": 3}, {"id": "3", "priority": 7}]
    rising = in_order(rows, parse_order(["priority"], TASK))
    falling = in_order(rows, parse_order(["-priority"], TASK))
    assert [row["id"] for row in rising] == ["2", "3", "1"]
    assert [row["id"] for row in falling] == ["3", "2", "1"]
