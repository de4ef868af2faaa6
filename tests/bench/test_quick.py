"""The bench runs, and what it ran was neither lost nor done twice. Figures are nobody's business here."""

import json
from pathlib import Path

from tests.bench.__main__ import main


def test_a_quick_bench_loses_nothing_and_reports_every_figure_beside_its_floor(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert main(["--quick", "--database", "sqlite", "--work", "W1,W2,L1", "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["losses"] == []
    lists = [row for row in report["rows"] if row["work"] == "L1"]
    others = report["rows"][: -len(lists)]
    assert [row["work"] for row in others] == ["W1"] * 3 + ["W2"] * 5
    assert all(row["ratio"] > 0 and len(row["values"]) >= 1 for row in others)
    assert all(row["values"] and row["counters"]["shown"] <= row["counters"]["total"] for row in lists)
