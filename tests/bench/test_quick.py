"""The bench runs, and what it ran was neither lost nor done twice. Figures are nobody's business here."""

import json
from pathlib import Path

from tests.bench.__main__ import main


def test_a_quick_bench_loses_nothing_and_reports_every_figure_beside_its_floor(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert main(["--quick", "--database", "sqlite", "--work", "W1,W2", "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["losses"] == []
    assert [row["work"] for row in report["rows"]] == ["W1"] * 3 + ["W2"] * 5
    assert all(row["ratio"] > 0 and len(row["values"]) >= 1 for row in report["rows"])
