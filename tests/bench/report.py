"""What a bench says: rows of figures, a Markdown table, JSON. Medians with their range, and the ratio to the floor."""

import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

LIBRARIES = ("grpcio", "protobuf", "sqlalchemy", "psycopg", "uvloop")


def describe_machine() -> str:
    """Processor, cores, memory, system, versions."""
    model = platform.processor() or platform.machine()
    memory = 0
    if Path("/proc/cpuinfo").exists():
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES if _present(name))
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores of {model}, {memory} GiB, {system}, {versions}"


def _present(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


@dataclass(slots=True)
class Row:
    """One figure: every repetition of it, and its floor's. `more` says that more is better. `others`: further floors,
    by what they are.
    """

    work: str
    database: str
    what: str
    unit: str
    values: list[float]
    floor: list[float] = field(default_factory=list)
    floor_what: str = ""
    more: bool = True
    counters: dict[str, str | float] = field(default_factory=dict)
    others: dict[str, list[float]] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """The median by the floor's."""
        return self._by(self.floor)

    @property
    def floors(self) -> dict[str, tuple[list[float], float]]:
        """Every floor that was measured, by what it is: its repetitions, and the median by its median."""
        found = {self.floor_what: self.floor} | self.others
        return {what: (values, ratio) for what, values in found.items() if (ratio := self._by(values)) is not None}

    def _by(self, floor: list[float]) -> float | None:
        if not floor or not self.values:
            return None
        return statistics.median(self.values) / statistics.median(floor)


@dataclass(slots=True)
class Report:
    """One run of the bench."""

    quick: bool
    machine: str = field(default_factory=describe_machine)
    begun_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    load_before: float = field(default_factory=lambda: os.getloadavg()[0])
    load_after: float = 0.0
    durability: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    books: dict[str, int] = field(default_factory=dict)  # tasks that were looked for at the end of each work
    losses: list[str] = field(default_factory=list)

    def end(self) -> None:
        """Note the load after the last work."""
        self.load_after = os.getloadavg()[0]

    def json(self) -> str:
        """Everything, for programs."""
        return json.dumps(
            asdict(self) | {"rows": [_for_programs(row) for row in self.rows], "verdict": self.verdict()}, indent=1
        )

    def markdown(self) -> str:
        """Everything, for people."""
        lines = [
            f"{self.begun_at}, {self.machine}; load average {self.load_before:.2f} before, {self.load_after:.2f} after",
            *(f"- {kind}: {words}" for kind, words in self.durability.items()),
            "",
            "| work | database | what | measured | floor | ratio | counters |",
            "|---|---|---|---:|---:|---:|---|",
            *table(self.rows),
            "",
        ]
        if self.quick:
            lines.append("A quick run: it shows that everything works, its figures say little.")
        return "\n".join([*lines, *(f"**{one}**" if self.losses else one for one in self.verdict())])

    def verdict(self) -> list[str]:
        """What became of the tasks that anybody was told of."""
        looked = ", ".join(f"{work} {count:,}" for work, count in self.books.items() if count)
        return [f"LOST OR DOUBLED: {one}" for one in self.losses] or [
            f"Nothing was lost, nothing ended twice. Tasks that were looked for: {looked or 'none'}."
        ]


def table(rows: Iterable[Row]) -> list[str]:
    """Lines of the Markdown table, without its head."""
    return [f"| {' | '.join(_cells(row))} |" for row in rows]


def _for_programs(row: Row) -> dict[str, object]:
    floors = {what: {"values": values, "ratio": ratio} for what, (values, ratio) in row.floors.items()}
    plain = asdict(row)
    del plain["floor"], plain["floor_what"], plain["others"]
    return plain | {"floors": floors}


def _cells(row: Row) -> Sequence[str]:
    ratio = "<br>".join(f"{ratio:.2f}" for _, ratio in row.floors.values())
    floor = "<br>".join(f"{spread(values)} ({what})" for what, (values, _) in row.floors.items())
    counters = ", ".join(f"{name} {_short(value)}" for name, value in row.counters.items())
    return row.work, row.database, row.what, f"**{spread(row.values)}** {row.unit}", floor, ratio, counters


def spread(values: Iterable[float]) -> str:
    """`1,234 [1,100 - 1,300]`: the median, and the range if there is one."""
    found = sorted(values)
    if not found:
        return "-"
    middle = _short(statistics.median(found))
    return middle if len(found) == 1 else f"{middle} [{_short(found[0])} - {_short(found[-1])}]"


def _short(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them lies."""
    found = sorted(values)
    return found[min(len(found) - 1, int(len(found) * share))]
