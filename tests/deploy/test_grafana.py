"""The dashboard and the alerts ask for metrics and labels that there are, in expressions that Prometheus can read."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.promql import Malformed, parse

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "grafana"
PAGE = ROOT / "controlplane" / "OBSERVING.md"
ROW = re.compile(r"^\| `(pawl_\w+)` \| (\w+) \| (.*?) \| (.+) \|$", re.MULTILINE)
SCRAPED = {"job", "instance"}  # what Prometheus adds
OTHERS = {"up": SCRAPED}


def metrics() -> dict[str, set[str]]:
    """Every series by its full name, with its labels; from the page, which a test compares with what is served."""
    found = dict(OTHERS)
    for name, kind, labels, _ in ROW.findall(PAGE.read_text()):
        named = set(re.findall(r"`(\w+)`", labels)) | SCRAPED
        if kind == "histogram":
            found |= {f"{name}_bucket": named | {"le"}, f"{name}_sum": named, f"{name}_count": named}
        else:
            found[name] = named
    return found


def dashboard() -> Any:
    return json.loads((FOLDER / "dashboard.json").read_text())


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    """Where, and what."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m").replace("$job", "pawl")


@pytest.mark.parametrize(("where", "expression"), list(expressions()), ids=lambda text: text[:40])
def test_an_expression_is_sound_and_asks_for_what_there_is(where: str, expression: str) -> None:
    query, known = parse(expression), metrics()
    assert query.selectors, where
    everything = set.union(*known.values())
    for name, labels in query.selectors:
        assert name in known, f"{where}: there is no {name}"
        assert labels <= known[name], f"{where}: {name} has no {labels - known[name]}"
    assert query.grouped <= everything
    for label in query.grouped:
        assert any(label in known[name] for name, _ in query.selectors), f"{where}: nothing there has {label}"


@pytest.mark.parametrize(
    "wrong",
    [
        "sum(pawl_ready",
        "rate(pawl_calls_total)",
        "pawl_calls_total[5m]",
        "sum(pawl_calls_total[5m])",
        "pawl_ready{job=pawl}",
        "pawl_ready == ",
        "median(pawl_ready)",
        "histogram_quantile(pawl_ready, 0.9)",
        "pawl_ready pawl_ready",
        "pawl_ready and 5",
        "pawl_ready{a='b'}",
    ],
)
def test_the_reader_finds_mistakes(wrong: str) -> None:
    with pytest.raises(Malformed):
        parse(wrong)


def test_every_metric_that_somebody_must_look_after_has_an_alert() -> None:
    asked = {name for rule in rules() for name, _ in parse(rule["expr"]).selectors}
    assert {"up", "pawl_oldest_ready_seconds", "pawl_schedule_lag_seconds", "pawl_loop_age_seconds"} <= asked
    assert {"pawl_commit_seconds_bucket", "pawl_writes_waiting", "pawl_agents", "pawl_calls_total"} <= asked


def test_an_alert_says_what_is_wrong_and_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) >= 10
    for rule in rules():
        assert re.fullmatch(r"Pawl[A-Z][A-Za-z]+", rule["alert"])
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
        assert rule["labels"]["severity"] in ("page", "warn", "info")
        assert rule["annotations"].keys() == {"summary", "action"}
        for label in re.findall(r"\$labels\.(\w+)", str(rule["annotations"])):
            assert any(label in metrics()[name] for name, _ in parse(rule["expr"]).selectors), rule["alert"]


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    board = dashboard()
    assert (board["uid"], board["title"]) == ("pawl", "Pawl")
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(0 <= one["x"] < one["x"] + one["w"] <= 24 for one in places)
    taken = [(x, y) for one in places for x in range(one["x"], one["x"] + one["w"])
             for y in range(one["y"], one["y"] + one["h"])]  # fmt: skip
    assert len(taken) == len(set(taken)), "panels lie over each other"
    variables = {one["name"] for one in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(board))) - {"__rate_interval", "__all"}
    assert used <= variables


def test_prometheus_is_told_where_the_metrics_and_the_rules_are() -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert all((FOLDER / file).is_file() for file in config["rule_files"])
    (job,) = config["scrape_configs"]
    assert f'up{{job="{job["job_name"]}"}}' in (FOLDER / "alerts.yml").read_text()
    assert "metrics_path" not in job, "/metrics is Prometheus' own default"
