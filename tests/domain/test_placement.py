"""Rules about labels, keys that stick to agents, and how priorities grow."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.ageing import Ageing
from controlplane.domain.job import JobConfig, Requirement, demands_more, requirement_of, requirement_of_task
from controlplane.domain.placement import (
    BUCKETS,
    LabelRule,
    Operator,
    PlacementRules,
    Strategy,
    bucket_of,
    owner_of,
    score,
)

LABELS = {"zone": "a", "gpu": "2", "memory": "10", "free": "", "version": "1.10"}


@pytest.mark.parametrize(
    ("label", "op", "values", "met"),
    [
        ("zone", Operator.EQ, ["a"], True),
        ("zone", Operator.EQ, ["A"], False),
        ("version", Operator.EQ, ["1.1"], False),  # text is compared as text
        ("zone", Operator.NOT, ["b"], True),
        ("zone", Operator.NOT, ["a"], False),
        ("none", Operator.NOT, ["a"], True),
        ("zone", Operator.IN, ["b", "a"], True),
        ("none", Operator.IN, ["b", ""], False),
        ("zone", Operator.NOT_IN, ["b", "c"], True),
        ("zone", Operator.NOT_IN, ["b", "a"], False),
        ("none", Operator.NOT_IN, ["a"], True),
        ("free", Operator.EXISTS, [], True),
        ("none", Operator.EXISTS, [], False),
        ("free", Operator.NOT_EXISTS, [], False),
        ("none", Operator.NOT_EXISTS, [], True),
        ("memory", Operator.GT, ["9"], True),  # as text it would be less
        ("memory", Operator.GT, ["10"], False),
        ("memory", Operator.GTE, ["10.0"], True),
        ("gpu", Operator.LT, ["10"], True),
        ("gpu", Operator.LTE, ["1.99"], False),
        ("gpu", Operator.LTE, ["-1"], False),
        ("zone", Operator.GT, ["1"], False),
        ("free", Operator.LTE, ["1"], False),
        ("none", Operator.LT, ["1"], False),
    ],
)
def test_a_rule_compares_one_label(label: str, op: Operator, values: list[str], met: bool) -> None:
    assert LabelRule(label, op, tuple(values)).meets(LABELS) is met


DECIMALS = st.from_regex(r"[+-]?[0-9]{1,12}(\.[0-9]{1,12})?", fullmatch=True)


@given(DECIMALS, DECIMALS)
def test_numbers_are_compared_as_numbers_however_they_are_written(have: str, want: str) -> None:
    exact = Fraction(have), Fraction(want)
    met = {
        op: LabelRule("x", op, (want,)).meets({"x": have})
        for op in (Operator.GT, Operator.GTE, Operator.LT, Operator.LTE)
    }
    assert met == {
        Operator.GT: exact[0] > exact[1],
        Operator.GTE: exact[0] >= exact[1],
        Operator.LT: exact[0] < exact[1],
        Operator.LTE: exact[0] <= exact[1],
    }


def test_preferences_add_up_to_how_welcome_an_agent_is() -> None:
    rules = (
        LabelRule("zone", Operator.EQ, ("a",), 50),
        LabelRule("gpu", Operator.EXISTS, (), None),
        LabelRule("memory", Operator.LT, ("100",), -20),
        LabelRule("zone", Operator.EQ, ("b",), 99),
    )
    assert score(rules, LABELS) == 50 + 1 - 20
    assert score(rules, {}) == 0


# --- keys


AGENTS = st.sets(st.text("abcdefgh0123", min_size=1, max_size=6), min_size=1, max_size=12)


@given(AGENTS, st.data())
def test_when_an_agent_goes_only_its_own_keys_move(agents: set[str], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(sorted(agents)))
    for bucket in range(BUCKETS):
        before, after = owner_of(bucket, agents), owner_of(bucket, agents - {gone})
        assert before in agents
        assert after == before or before == gone


def test_keys_are_spread_over_all_agents() -> None:
    agents = [f"default/agent{number}" for number in range(8)]
    assert {owner_of(bucket, agents) for bucket in range(BUCKETS)} == set(agents)
    assert owner_of(3, []) is None


def test_a_key_is_made_of_tags_and_the_job_stands_in_for_none() -> None:
    key = "${tags.customer}/${tags.region}"
    one = bucket_of(key, {"customer": "7", "region": "eu", "else": "x"}, "job")
    assert one == bucket_of("7/eu", {}, "another job")
    assert bucket_of("", {"customer": "7"}, "job") == bucket_of("job", {}, "")
    assert bucket_of("${tags.customer}", {}, "job") == bucket_of("", {}, "job")
    assert all(0 <= bucket_of(str(number), {}, "") < BUCKETS for number in range(1000))


# --- demands


def test_a_demand_says_of_what_is_not_demanded_nothing() -> None:
    """What was stored by earlier versions stays the same demand."""
    assert requirement_of("default", JobConfig(labels={"b": "2", "a": "1"})).canonical() == (
        '{"executor":"process","labels":{"a":"1","b":"2"}}'
    )


RULES = st.builds(
    LabelRule,
    st.text(min_size=1, max_size=3),
    st.sampled_from(Operator),
    st.lists(st.text(max_size=3), max_size=2).map(tuple),
    st.none() | st.integers(-100, 100),
)
REQUIREMENTS = st.builds(
    Requirement,
    st.just("default"),
    st.sampled_from(("process", "wasm")),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    function=st.text(max_size=3),
    required=st.lists(RULES, max_size=2).map(tuple),
    preferred=st.lists(RULES, max_size=2).map(tuple),
    strategy=st.sampled_from(Strategy),
    bucket=st.none() | st.integers(0, 127),
    agents=st.lists(st.sampled_from("abc"), unique=True).map(sorted).map(tuple),
    slots=st.integers(1, 3),
    resources=st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 3), max_size=2),
    capped_job=st.text(max_size=3),
)


@given(REQUIREMENTS, REQUIREMENTS)
def test_the_text_of_a_demand_tells_it_from_every_other(one: Requirement, other: Requirement) -> None:
    assert Requirement.of_canonical("default", one.canonical()) == one
    assert (one.canonical() == other.canonical()) == (one == other)


def test_a_task_adds_its_labels_and_its_key_to_what_its_job_demands() -> None:
    config = JobConfig(labels={"a": "1", "b": "2"}, max_running=3)
    assert not demands_more(config, {})
    task = requirement_of_task("default", config, "job", {"b": "3", "c": "4"}, {})
    assert (task.labels, task.capped_job) == ({"a": "1", "b": "3", "c": "4"}, "job")
    sticky = JobConfig(placement=PlacementRules(strategy=Strategy.STICKY, sticky_key="${tags.x}"))
    assert demands_more(sticky, {})
    assert requirement_of_task("default", sticky, "job", {}, {"x": "1"}).bucket == bucket_of("1", {}, "")


# --- ageing


@given(st.integers(0, 1000), st.integers(0, 10**12), st.integers(1, 10**9), st.integers(0, 1000))
def test_a_priority_grows_by_a_step_for_each_interval_and_never_past_the_top(
    said: int, waited: int, interval: int, step: int
) -> None:
    grown = Ageing(interval, step).priority(said, waited)
    assert said <= grown <= 1000
    assert grown == min(1000, said + step * (waited // interval))
    assert Ageing(interval, step).priority(said, waited + interval) >= grown
