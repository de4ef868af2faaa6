"""The page of plots shows everything that a report has, whatever its figures are."""

import json
from xml.etree import ElementTree

from tests.bench import page
from tests.bench.report import Report, Row


def words_of(*rows: Row, losses: tuple[str, ...] = ()) -> list[str]:
    """What stands on the page, in order."""
    report = Report(quick=False, rows=list(rows), durability={"sqlite": "FULL"}, losses=list(losses))
    drawn = ElementTree.fromstring(page.draw(json.loads(report.json())))
    return [text.text or "" for text in drawn.iter("{http://www.w3.org/2000/svg}text")]


def test_every_figure_stands_above_its_floors() -> None:
    words = words_of(
        Row("W1", "sqlite", "drained", "tasks/s", [900.0, 1100.0], [3000.0], "raw SQL", others={"calls": [2000.0]}),
        Row("W1", "postgres", "drained & <escaped>", "tasks/s", [500.0]),
    )
    places = [words.index(one) for one in ("W1 on sqlite, tasks/s", "drained", "raw SQL", "calls")]
    assert places == sorted(places)
    assert "drained & <escaped>" in words
    assert {"1,000", "3,000", "2,000", "sqlite: FULL"} <= set(words)


def test_percentiles_of_one_thing_are_one_line() -> None:
    rows = [
        Row("W2", "sqlite", f"start, p{share}", "ms", [value], more=False) for share, value in ((50, 2.5), (99, 60.0))
    ]
    words = words_of(*rows)
    assert "start" in words
    assert "p50 2.5, p99 60" in words


def test_figures_may_be_nothing_and_very_far_apart() -> None:
    rows = [Row("W7", "sqlite", f"idle {value}", "ms", [value]) for value in (0.0, 0.001, 10_000.0)]
    assert {"idle 0.0", "idle 0.001", "idle 10000.0"} <= set(words_of(*rows))


def test_what_was_lost_is_said() -> None:
    assert "LOST OR DOUBLED: 3 tasks" in words_of(losses=("3 tasks",))
