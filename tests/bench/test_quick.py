"""The bench runs, and what it ran was neither lost nor done twice. Figures are nobody's business here."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench import plugin_runs
from tests.bench.__main__ import WORKS, main

SECONDS = 600
"""A machine that is busy with other tests takes its time."""
ONLY_POSTGRES = {"W9"}


@pytest.mark.timeout(SECONDS)
@pytest.mark.parametrize("work", sorted(WORKS))
def test_a_quick_bench_loses_nothing_and_reports_every_figure(
    work: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    database = "postgres" if work in ONLY_POSTGRES else "sqlite"
    if work in ONLY_POSTGRES:
        request.getfixturevalue("postgres")
    report = run(tmp_path, work, database)
    assert report["losses"] == []
    assert {row["work"] for row in report["rows"]} == {work}
    for row in report["rows"]:
        assert row["values"], row["what"]
        assert all(floor["ratio"] > 0 for floor in row["floors"].values()), row["what"]


@pytest.mark.timeout(SECONDS)
def test_a_quick_bench_counts_what_postgres_writes(postgres_url: str, tmp_path: Path) -> None:
    report = run(tmp_path, "W1", "postgres")
    assert report["losses"] == []
    assert report["rows"][0]["counters"]["WAL B/task"] > 0


def run(folder: Path, work: str, database: str) -> dict[str, Any]:
    """The report of a work."""
    out = folder / "out.json"
    assert main(["--quick", "--database", database, "--work", work, "--json", str(out)]) == 0
    report: dict[str, Any] = json.loads(out.read_text())
    return report


async def test_runs_of_plugins_are_measured_beside_a_fork_and_a_process(tmp_path: Path) -> None:
    rows = await plugin_runs.measure(tmp_path, "sqlite", quick=True, repeats=1)
    assert ["hello-c" in rows[0].what, "wordcount-rust" in rows[1].what, "true" in rows[2].what] == [True] * 3
    assert all(len(row.values) == 1 for row in rows)
    assert all("ms over the fork" in row.counters for row in rows[:2])
