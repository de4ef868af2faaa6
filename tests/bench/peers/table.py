"""What a run beside others says: a table for people, everything for programs."""

import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from tests.bench.peers.peers import PEERS
from tests.bench.peers.works import Figures
from tests.bench.report import describe_machine, percentile, spread

COLUMNS = (
    "peer",
    "bulk, tasks/s",
    "64 callers, tasks/s",
    "trigger, p50 / p90 / p99 ms",
    "CPU µs/task, bulk: own + store",
    "the same, 64 callers",
    "worker killed, s",
    "server or store killed, s",
    "strangers' cores",
)


@dataclass(slots=True)
class Table:
    """One run."""

    quick: bool
    machine: str = field(default_factory=describe_machine)
    begun_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    load_before: float = field(default_factory=lambda: os.getloadavg()[0])
    load_after: float = 0.0
    durability: str = ""
    figures: dict[str, Figures] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def end(self) -> None:
        """Note the load after the last peer."""
        self.load_after = os.getloadavg()[0]

    def json(self) -> str:
        """Everything, for programs."""
        versions = {name: {"version": PEERS[name].version, "settings": PEERS[name].settings} for name in self.figures}
        return json.dumps(asdict(self) | {"peers": versions}, indent=1)

    def markdown(self) -> str:
        """Everything, for people."""
        lines = [
            f"{self.begun_at}, {self.machine}; load average {self.load_before:.2f} before, {self.load_after:.2f} after",
            f"- {self.durability}",
            *(f"- {name} ({PEERS[name].version}): {PEERS[name].settings}" for name in self.figures),
            *(f"- **left out: {name}.** {why}" for name, why in self.left_out.items()),
            "",
            f"| {' | '.join(COLUMNS)} |",
            f"|---|{'---:|' * (len(COLUMNS) - 1)}",
            *(f"| {' | '.join(_cells(name, one))} |" for name, one in self.figures.items()),
            "",
            *(f"- {name}, {note}" for name, one in self.figures.items() for note in one.notes),
            *(
                f"- {name}: {one.missing} tasks did not start in time, {one.doubled} started twice without a kill"
                for name, one in self.figures.items()
                if one.missing or one.doubled
            ),
        ]
        if self.quick:
            lines.append("A quick run: it shows that everything works, its figures say little.")
        return "\n".join(lines)


def _cells(name: str, figures: Figures) -> Sequence[str]:
    trigger = [percentile(figures.trigger, share) for share in (0.5, 0.9, 0.99)] if figures.trigger else []
    others = [one for victim, found in figures.killed.items() if victim != "worker" for one in found]
    return (
        name,
        spread(figures.bulk),
        spread(figures.callers),
        " / ".join(f"{one:.1f}" for one in trigger) or "-",
        _cpu(figures.bulk_cpu),
        _cpu(figures.callers_cpu),
        spread(figures.killed.get("worker", ())),
        spread(others),
        spread(figures.strangers),
    )


def _cpu(found: Sequence[tuple[float, float]]) -> str:
    if not found:
        return "-"
    own, store = (statistics.median(one[part] for one in found) for part in (0, 1))
    return f"{own:,.0f} + {store:,.0f}"
