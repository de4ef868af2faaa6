"""The page of plots: an SVG drawn from a report. `python -m tests.bench.page out.json out.svg` draws it anew.

A panel for each work, database and unit. Rates and the like are bars, latencies the strip from their median to their
99th percentile on a scale of decades; every floor of the same run stands under what was measured, paler. A thin line is
the range of the repetitions. Plain text and rectangles: no program is needed to make it, any browser shows it.
"""

import json
import math
import re
import statistics
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

WIDTH = 1180
LEFT = 430
"""Where bars begin: before it stand the words."""
RIGHT = 940
"""Where they end: after it stand the figures."""
LINE = 17
GAP = 7
PANEL_GAP = 34
MARGIN = 24
MEASURED = "#0b6e99"
FLOORS = ("#c9a227", "#8d99ae", "#b56576")
INK = "#1f2933"
PALE = "#7b8794"
GRID = "#e4e7eb"
FONT = "font-family='system-ui, sans-serif'"
PERCENTILE = re.compile(r"^(?P<stem>.*), p(?P<share>50|90|95|99)$")
HEAD_WORDS = 165
WORDS = 66
"""Letters of a label; longer ones are cut, their whole is shown where the pointer rests."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a panel: repetitions by what they are, '' or a percentile."""

    label: str
    color: str
    points: Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """What has one scale. Each group is something measured and the floors under it."""

    title: str
    unit: str
    groups: Sequence[Sequence[Series]]

    @property
    def in_decades(self) -> bool:
        """Whether its figures lie too far apart for a plain scale, as latencies do."""
        medians = [one for one in map(statistics.median, self._values()) if one > 0]
        return self.unit in ("ms", "s") and max(medians, default=1.0) > 8 * min(medians, default=1.0)

    @property
    def extent(self) -> tuple[float, float]:
        """Its least and its greatest figure."""
        values = [one for values in self._values() for one in values if one > 0]
        return min(values, default=1.0), max(values, default=1.0)

    def _values(self) -> Iterator[Sequence[float]]:
        for group in self.groups:
            for series in group:
                yield from series.points.values()


def draw(report: Mapping[str, Any]) -> str:
    """The whole page, of a report as `--json` writes it."""
    head = [
        f"{report['begun_at']}: {report['machine']}",
        f"load average {report['load_before']:.2f} before, {report['load_after']:.2f} after",
        *(f"{kind}: {words}" for kind, words in report["durability"].items()),
        *report["verdict"],
        *(["A quick run: it shows that everything works, its figures say little."] if report["quick"] else []),
    ]
    pieces = [_text(MARGIN, MARGIN + 14, "Pawl, measured beside its floors", size=20, weight="600")]
    y = MARGIN + 40.0
    for line in (piece for whole in head for piece in textwrap.wrap(whole, HEAD_WORDS)):
        pieces.append(_text(MARGIN, y, line, size=12, color=PALE))
        y += 17
    y += _legend(pieces, y)
    for panel in panels(report["rows"]):
        drawn, y = _panel(panel, y + PANEL_GAP)
        pieces += drawn
    size = f"width='{WIDTH}' height='{y + MARGIN:.0f}' viewBox='0 0 {WIDTH} {y + MARGIN:.0f}'"
    ground = "<rect width='100%' height='100%' fill='white'/>"
    return "\n".join((f"<svg xmlns='http://www.w3.org/2000/svg' {size} {FONT}>", ground, *pieces, "</svg>", ""))


def panels(rows: Iterable[Mapping[str, Any]]) -> list[Panel]:
    """The rows of a report by work, database and unit, in their order; percentiles of one thing are one line."""
    found: dict[tuple[str, str, str], dict[str, dict[str, Mapping[str, Any]]]] = {}
    for row in rows:
        unit, share = row["unit"].partition(",")[0], ""
        stem = row["what"]
        if match := PERCENTILE.match(stem):
            stem, share = match["stem"], match["share"]
        place = found.setdefault((row["work"], row["database"], unit), {})
        place.setdefault(stem, {})[share] = row
    return [
        Panel(f"{work} on {database}", unit, [_group(stem, shares) for stem, shares in stems.items()])
        for (work, database, unit), stems in found.items()
    ]


def _group(stem: str, shares: Mapping[str, Mapping[str, Any]]) -> list[Series]:
    measured = Series(stem, MEASURED, {share: row["values"] for share, row in shares.items()})
    floors: dict[str, dict[str, Sequence[float]]] = {}
    for share, row in shares.items():
        for what, floor in row["floors"].items():
            floors.setdefault(what, {})[share] = floor["values"]
    paler = (Series(what, FLOORS[number % len(FLOORS)], floors[what]) for number, what in enumerate(floors))
    return [measured, *paler]


def _legend(pieces: list[str], y: float) -> float:
    x = float(MARGIN)
    for color, words in (
        (MEASURED, "Pawl"),
        *((one, "") for one in FLOORS[:-1]),
        (FLOORS[-1], "floors of the same run"),
    ):
        pieces.append(f"<rect x='{x}' y='{y + 2}' width='12' height='12' fill='{color}'/>")
        x += 18
        if words:
            pieces.append(_text(x, y + 12, words, size=12))
            x += 7 * len(words) + 16
    pieces.append(
        _text(x, y + 12, "strips reach from p50 to p99; thin lines are ranges of repetitions", size=12, color=PALE)
    )
    return 20.0


def _panel(panel: Panel, y: float) -> tuple[list[str], float]:
    scale = Scale.of(panel)
    pieces = [_text(MARGIN, y, f"{panel.title}, {panel.unit}", size=14, weight="600")]
    top, y = y + 8, y + 14
    body: list[str] = []
    for group in panel.groups:
        for series in group:
            body += _line(series, scale, y, measured=series is group[0])
            y += LINE
        y += GAP
    for value in scale.ticks():
        x = scale.at(value)
        pieces.append(f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{top}' y2='{y}' stroke='{GRID}'/>")
        pieces.append(_text(x, y + 12, _short(value), size=10, color=PALE, anchor="middle"))
    return pieces + body, y + 14


def _line(series: Series, scale: "Scale", y: float, *, measured: bool) -> list[str]:
    height = 11 if measured else 7
    middle = y + LINE / 2
    label = series.label if len(series.label) <= WORDS else series.label[: WORDS - 1] + "…"
    pieces = [
        _text(LEFT - 10, middle + 4, label, size=12 if measured else 11, color=INK if measured else PALE, anchor="end",
              title=series.label)
    ]  # fmt: skip
    medians = {share: statistics.median(values) for share, values in series.points.items()}
    ends = [scale.at(one) for one in medians.values()]
    begin = LEFT if "" in medians else min(ends)
    pieces.append(
        f"<rect x='{begin:.1f}' y='{middle - height / 2}' width='{max(3.0, max(ends) - begin):.1f}' height='{height}'"
        f" fill='{series.color}' rx='1.5'/>"
    )
    for values in series.points.values():
        low, high = scale.at(min(values)), scale.at(max(values))
        if high - low >= 1:
            pieces.append(
                f"<line x1='{low:.1f}' x2='{high:.1f}' y1='{middle}' y2='{middle}' stroke='{INK}' stroke-width='1.2'/>"
            )
    words = ", ".join(f"{f'p{share} ' if share else ''}{_short(one)}" for share, one in medians.items())
    pieces.append(_text(RIGHT + 10, middle + 4, words, size=11, color=INK if measured else PALE))
    return pieces


@dataclass(frozen=True, slots=True)
class Scale:
    """From figures to places."""

    low: float
    high: float
    in_decades: bool

    @classmethod
    def of(cls, panel: Panel) -> "Scale":
        """One that has room for all of a panel."""
        low, high = panel.extent
        if panel.in_decades:
            return cls(10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high * 1.01)), True)
        step = _step(high)
        return cls(0.0, step * math.ceil(high / step), False)

    def at(self, value: float) -> float:
        """Where a figure is."""
        if self.in_decades:
            value = max(value, self.low)
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = value / self.high
        return LEFT + share * (RIGHT - LEFT)

    def ticks(self) -> list[float]:
        """Figures to write under it."""
        if self.in_decades:
            return [self.low * 10**power for power in range(round(math.log10(self.high / self.low)) + 1)]
        step = _step(self.high)
        return [step * number for number in range(round(self.high / step) + 1)]


def _step(high: float) -> float:
    """A round number that a scale up to there has four to ten of."""
    power = 10.0 ** math.floor(math.log10(high))
    return next(power * part for part in (0.1, 0.2, 0.5, 1.0) if high / (power * part) <= 10)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _text(x: float, y: float, words: str, *, size: int, color: str = INK, weight: str = "400", anchor: str = "start",
          title: str = "") -> str:  # fmt: skip
    inside = escape(words) + (f"<title>{escape(title)}</title>" if title != words and title else "")
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' font-weight='{weight}' fill='{color}'"
        f" text-anchor='{anchor}'>{inside}</text>"
    )


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), encoding="utf-8")
