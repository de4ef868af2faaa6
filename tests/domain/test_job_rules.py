"""What a job may say: each field has bounds, and each problem names its field."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.job import FunctionSpec, HttpSpec, JobConfig, JobSpec, ResourceLimits, WasmSpec
from controlplane.domain.job_rules import MAX_OPTIONS_BYTES, MAX_TEXT_BYTES, digest_of_reference, job_problems
from controlplane.domain.placement import LabelRule, Operator, PlacementRules, Strategy
from controlplane.domain.retry import Backoff, RetryRules

HEX = "0123456789abcdef" * 4


def problems(name: str = "hello", environment: dict[str, str] | None = None, **config: Any) -> list[str]:
    settings = {"cmd": "echo"} | config
    return [one.field for one in job_problems(name, JobSpec("", environment or {}, JobConfig(**settings)))]


def test_the_smallest_job_is_fine() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    "name", ["", "-a", "a/b", "a:b", "x" * 64, "item", "Create", "550e8400-e29b-41d4-a716-446655440000"]
)
def test_a_bad_name_is_refused(name: str) -> None:
    assert problems(name) == ["job.name"]


@pytest.mark.parametrize(
    ("field", "least", "most"),
    [
        ("timeout", 0.001, 366 * 86_400),
        ("max_retries", 0, 1_000),
        ("retry_interval", 0, 30 * 86_400),
        ("grace_seconds", 0, 3_600),
        ("max_stalled", 0, 1_000),
        ("lost_after_seconds", 3, 86_400),
        ("max_output_size", 1, 104_857_600),
        ("priority", 0, 1_000),
        ("max_running", 0, 10_000_000),
    ],
)
def test_numbers_have_bounds_and_both_are_allowed(field: str, least: float, most: float) -> None:
    def found(value: float) -> list[str]:
        setting: dict[str, Any] = {field: value}
        return problems(**setting)

    assert found(least) == found(most) == []
    for wrong in (least - 1, most + 1, math.nan, math.inf, -math.inf):
        assert found(wrong) == [f"job.config.{field}"]


@pytest.mark.parametrize(
    ("field", "fine", "wrong"),
    [
        ("multiplier", (1.0, 100.0), (0.5, 101.0, math.nan)),
        ("jitter", (0.0, 1.0), (-0.1, 1.1, math.nan)),
        ("max_interval_seconds", (30.0, 2_592_000.0), (0.0, 2_592_001.0, math.inf)),
        ("max_elapsed_seconds", (0.001, 86_400.0), (0.0, -1.0, math.nan)),
    ],
)
def test_the_numbers_of_retries_have_bounds(field: str, fine: tuple[float, ...], wrong: tuple[float, ...]) -> None:
    def found(value: float) -> list[str]:
        changes: dict[str, Any] = {field: value}
        return problems(retry=RetryRules(**changes))

    assert [found(value) for value in fine] == [[]] * len(fine)
    assert [found(value) for value in wrong] == [[f"job.config.retry.{field}"]] * len(wrong)


@pytest.mark.parametrize(
    ("field", "least", "most"),
    [
        ("max_memory_mb", 1, 16_777_216),
        ("max_cpu_percent", 0.01, 102_400),
        ("max_execution_time_secs", 0.001, 366 * 86_400),
        ("max_output_size_bytes", 1, 104_857_600),
        ("max_processes", 1, 4_194_304),
        ("max_open_files", 16, 1_048_576),
    ],
)
def test_what_an_attempt_may_use_has_bounds_and_both_are_allowed(field: str, least: float, most: float) -> None:
    def found(value: float) -> list[str]:
        limits: dict[str, Any] = {field: value}
        return problems(resource_limits=ResourceLimits(**limits))

    assert found(least) == found(most) == []
    for wrong in (least - 1, most + 1, math.nan, math.inf):
        assert found(wrong) == [f"job.config.resource_limits.{field}"]


def test_of_timeout_and_execution_time_the_smaller_counts() -> None:
    def longest(timeout: float, most: float | None, of_task: float | None = None) -> float:
        limits = ResourceLimits(max_execution_time_secs=most)
        return JobConfig(timeout=timeout, resource_limits=limits).longest_run(of_task)

    assert (longest(3600, 1800), longest(60, 1800), longest(60, None)) == (1800, 60, 60)
    assert (longest(60, 1800, 5), longest(60, 1800, 7200), longest(60, None, 7200)) == (5, 1800, 7200)


def test_waits_that_grow_must_have_room_to_grow() -> None:
    rules = RetryRules(Backoff.LINEAR, max_interval_seconds=5)
    assert problems(retry=rules, retry_interval=5.0) == []
    assert problems(retry=rules, retry_interval=6.0) == ["job.config.retry.max_interval_seconds"]


def test_codes_of_failures_are_few_and_look_like_codes() -> None:
    assert problems(retry=RetryRules(retry_on=("EXIT_3", "SIGNAL_*", "app.errors.Broken"), fail_on=("*",))) == []
    assert problems(retry=RetryRules(retry_on=("",))) == ["job.config.retry.retry_on[0]"]
    assert problems(retry=RetryRules(fail_on=("fine", "not fine"))) == ["job.config.retry.fail_on[1]"]
    assert problems(retry=RetryRules(retry_on=("x" * 65,))) == ["job.config.retry.retry_on[0]"]
    assert problems(retry=RetryRules(fail_on=("x",) * 51)) == ["job.config.retry.fail_on"]


@pytest.mark.parametrize("key", ["", "A=B", "A\0", "PAWL_TASK_ID", "pawl_x", "k" * 256])
def test_variables_that_the_system_or_pawl_cannot_take_are_refused(key: str) -> None:
    assert problems(environment={key: "1"}) == [f"job.environment.{key[:255]}"]


def test_variables_of_the_configuration_are_held_to_the_same() -> None:
    assert problems(environment={"FINE": "1"}) == []
    [problem] = job_problems("a", JobSpec("", {}, JobConfig(cmd="x", environment={"PAWL_A": "1"})))
    assert problem.field == "job.config.environment.PAWL_A"
    assert "reserved" in problem.problem


def test_arguments_are_bounded_in_number_and_bytes() -> None:
    assert problems(args=("x",) * 1_000) == []
    assert problems(args=("x",) * 1_001) == ["job.config.args"]
    assert problems(args=("x" * MAX_TEXT_BYTES,)) == []
    assert problems(args=("é" * (MAX_TEXT_BYTES // 2 + 1),)) == ["job.config.args"]
    assert problems(args=("fine", "a\0b")) == ["job.config.args[1]"]


def test_labels_are_few_and_short() -> None:
    assert problems(labels={str(n): "v" for n in range(64)}) == []
    assert problems(labels={str(n): "v" for n in range(65)}) == ["job.config.labels"]
    assert problems(labels={"k" * 64: "v"}) == [f"job.config.labels.{'k' * 63}"]
    assert problems(labels={"k": "v" * 256}) == ["job.config.labels.k"]


def test_an_executor_takes_its_own_settings_only() -> None:
    assert problems(cmd="") == ["job.config.cmd"]
    assert problems(executor="docker") == ["job.config.executor"]
    assert problems(wasm=WasmSpec("p")) == ["job.config.wasm"]
    assert problems(cmd="", executor="wasm") == ["job.config.wasm.plugin"]
    assert problems(executor="wasm", wasm=WasmSpec("p"), args=("x",)) == ["job.config.cmd", "job.config.args"]
    assert problems(cmd="", executor="wasm", wasm=WasmSpec("p")) == []
    assert problems(cmd="", executor="function") == ["job.config.function.name"]
    assert problems(cmd="", executor="function", function=FunctionSpec("a/b")) == ["job.config.function.name"]
    assert problems(cmd="", executor="function", function=FunctionSpec("greet.hello")) == []
    assert problems(function=FunctionSpec("greet.hello")) == ["job.config.function"]
    assert problems(options="{}") == ["job.config.options"]


def test_an_executor_that_agents_add_takes_a_json_object_of_options() -> None:
    assert problems(cmd="", executor="docker") == []
    assert problems(cmd="", executor="docker", options='{"image": "alpine"}') == []
    for wrong in ("[]", "1", '"text"', "{", '{"a": NaN}', "[" * 10_000, '{"a": "' + "x" * MAX_OPTIONS_BYTES + '"}'):
        assert problems(cmd="", executor="docker", options=wrong) == ["job.config.options"]
    assert problems(cmd="", executor="no name") == ["job.config.executor"]
    assert problems(cmd="", executor="docker", http=HttpSpec("http://a")) == ["job.config.executor"]


def http(**changes: Any) -> list[str]:
    return problems(cmd="", executor="http", http=HttpSpec(**{"url": "https://example.com/x?y=1", **changes}))


@pytest.mark.parametrize(
    "url", ["http://a", "https://a.example:8443/b/c?d=e&f", "http://[::1]:80/", "http://10.0.0.1/%20"]
)
def test_a_request_is_fine_where_its_parts_are(url: str) -> None:
    assert http(url=url, method="GET", headers={"X-A": "1", "Authorization": "Bearer ${secret:T}"}) == []


@pytest.mark.parametrize(
    "url", ["ftp://a/", "http://", "//a", "http://u:p@a/", "http://a/ b", "http://a/ü", "http://a\\b/"]
)
def test_what_is_no_url_to_call_is_refused(url: str) -> None:
    assert http(url=url) == ["job.config.http.url"]


def test_a_request_is_held_to_what_http_can_carry() -> None:
    assert problems(cmd="", executor="http") == ["job.config.http.url"]
    assert http(url="http://a/" + "x" * 8_192) == ["job.config.http.url"]
    assert http(method="BREW") == ["job.config.http.method"]
    for name in ("Host", "content-length", "Proxy-Authorization", "a b", ""):
        assert http(headers={name: "1"}) == [f"job.config.http.headers.{name}"]
    assert http(headers={"A": "b\r\nC: d"}) == ["job.config.http.headers.A"]
    assert problems(http=HttpSpec("http://a")) == ["job.config.http"]
    assert problems(executor="http", http=HttpSpec("http://a")) == ["job.config.cmd"]


def test_the_refusal_of_an_executor_says_which_are_allowed() -> None:
    [problem] = job_problems("a", JobSpec("", {}, JobConfig(executor="docker", cmd="x")))
    assert "process, wasm" in problem.problem


@pytest.mark.parametrize(
    ("reference", "digest"),
    [(HEX, HEX), (HEX.upper(), HEX), (f"sha256:{HEX}", HEX), ("words", None), ("words@1", None), (HEX[1:], None)],
)
def test_a_digest_is_told_from_a_name(reference: str, digest: str | None) -> None:
    assert digest_of_reference(reference) == digest


@given(
    st.text(max_size=80),
    st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=5),
    st.floats(),
    st.integers(),
    st.lists(st.text(max_size=10), max_size=5),
)
def test_whatever_is_asked_the_answer_names_fields(
    name: str, environment: dict[str, str], timeout: float, retries: int, args: list[str]
) -> None:
    config = JobConfig(cmd="x", args=tuple(args), timeout=timeout, max_retries=retries, labels=environment)
    for problem in job_problems(name, JobSpec(name, environment, config)):
        assert problem.field.startswith("job.")
        assert problem.problem


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        (PlacementRules(required=(LabelRule("a", Operator.EQ, ("1",)),)), None),
        (PlacementRules(required=(LabelRule("", Operator.EQ, ("1",)),)), "required[0].label"),
        (PlacementRules(required=(LabelRule("a"),)), "required[0].values"),
        (PlacementRules(required=(LabelRule("a", Operator.GT, ("1", "2")),)), "required[0].values"),
        (PlacementRules(required=(LabelRule("a", Operator.GT, ("one",)),)), "required[0].values[0]"),
        (PlacementRules(required=(LabelRule("a", Operator.LTE, ("1e3",)),)), "required[0].values[0]"),
        (PlacementRules(required=(LabelRule("a", Operator.EXISTS, ("1",)),)), "required[0].values"),
        (PlacementRules(required=(LabelRule("a", Operator.EXISTS),)), None),
        (PlacementRules(required=(LabelRule("a", Operator.IN, ("1",) * 64),)), None),
        (PlacementRules(required=(LabelRule("a", Operator.IN, ("1",) * 65),)), "required[0].values"),
        (PlacementRules(required=(LabelRule("a", Operator.EQ, ("1",), 5),)), "required[0].weight"),
        (PlacementRules(preferred=(LabelRule("a", Operator.EQ, ("1",), -100),)), None),
        (PlacementRules(preferred=(LabelRule("a", Operator.EQ, ("1",), 101),)), "preferred[0].weight"),
        (PlacementRules(required=(LabelRule("a", Operator.EXISTS),) * 65), "required"),
        (PlacementRules(sticky_key="x"), "sticky_key"),
        (PlacementRules(sticky_key="x", strategy=Strategy.STICKY), None),
        (PlacementRules(sticky_key="a-${tags.x}-${tags.y z}", strategy=Strategy.STICKY), None),
        (PlacementRules(sticky_key="${tag.x}", strategy=Strategy.STICKY), "sticky_key"),
        (PlacementRules(sticky_key="${tags.x}${tags.y", strategy=Strategy.STICKY), "sticky_key"),
        (PlacementRules(agents=("a b",)), "agents[0]"),
        (PlacementRules(slots=0), "slots"),
        (PlacementRules(resources={"gpu": 0}), "resources.gpu"),
        (PlacementRules(resources={"slots": 1}), "resources.slots"),
        (PlacementRules(resources={"gpu": 1, "tape.drive": 1_000_000}), None),
    ],
)
def test_rules_of_placement_are_checked_by_their_place(rules: PlacementRules, field: str | None) -> None:
    assert problems(placement=rules) == ([] if field is None else [f"job.config.placement.{field}"])
