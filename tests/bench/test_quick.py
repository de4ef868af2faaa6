"""The bench runs, and what it ran was neither lost nor done twice. Figures are nobody's business here."""

import json
from pathlib import Path

from tests.bench import plugin_runs
from tests.bench.__main__ import main


def test_a_quick_bench_loses_nothing_and_reports_every_figure_beside_its_floor(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert main(["--quick", "--database", "sqlite", "--work", "W1,W2,L1", "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["losses"] == []
    lists = [row for row in report["rows"] if row["work"] == "L1"]
    others = report["rows"][: -len(lists)]
    assert {row["work"] for row in others} == {"W1", "W2"}
    assert all(row["values"] for row in others)
    assert all(row["ratio"] > 0 for row in others if "open loop" not in row["what"])
    assert all(row["values"] and row["counters"]["shown"] <= row["counters"]["total"] for row in lists)


async def test_runs_of_plugins_are_measured_beside_a_fork_and_a_process(tmp_path: Path) -> None:
    rows = await plugin_runs.measure(tmp_path, "sqlite", quick=True, repeats=1)
    assert ["hello-c" in rows[0].what, "wordcount-rust" in rows[1].what, "true" in rows[2].what] == [True] * 3
    assert all(len(row.values) == 1 for row in rows)
    assert all("ms over the fork" in row.counters for row in rows[:2])
