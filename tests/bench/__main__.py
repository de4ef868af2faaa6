"""`python -m tests.bench`: run works, print a table, say at the end whether anything was lost or doubled.

Exit code 1 if something was; never because of a figure.
"""

import argparse
import asyncio
import importlib
import json
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import uvloop

from tests.bench import page, stage
from tests.bench.databases import KINDS, Server, served
from tests.bench.g1 import PARTS
from tests.bench.report import Report, Row, table
from tests.bench.stage import Stage

Measure = Callable[[Stage], Awaitable[list[Row]]]


def works() -> dict[str, Measure]:
    """Every work by its name: a file that is called by a letter and a number, with a `measure`."""
    names = [path.stem for path in sorted(Path(__file__).parent.glob("*.py")) if re.fullmatch(r"[a-z]\d+", path.stem)]
    return {name.upper(): importlib.import_module(f"tests.bench.{name}").measure for name in names}


WORKS = works()


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--work", type=_works, default=list(WORKS), help=f"of {','.join(WORKS)}; default all")
    parser.add_argument("--database", choices=KINDS, help="default: one after the other; quick: sqlite")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    parser.add_argument("--plots", type=Path, help="also draw everything into this file, SVG")
    parser.add_argument("--quick", action="store_true", help="small and once: for correctness, not for figures")
    parser.add_argument("--repeats", type=int, default=3, help="how often each thing is measured; default 3")
    parser.add_argument("--rows", type=int, default=0, help="how many ended tasks L1 and G1 make; default 1,000,000")
    parser.add_argument("--parts", type=_parts, default=(), help=f"of G1, of {','.join(PARTS)}; default all")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what was started is ended, too
    report = Report(quick=given.quick)
    for kind in [given.database] if given.database else KINDS[: 1 if given.quick else None]:
        with served(kind) as server:
            for work in given.work:
                print(f"{work} on {kind} ...", file=sys.stderr, flush=True)
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(_measure(report, work, kind, server, given))
    report.end()
    print(report.markdown())
    if given.json:
        given.json.write_text(report.json() + "\n", encoding="utf-8")
    if given.plots:
        given.plots.write_text(page.draw(json.loads(report.json())), encoding="utf-8")
    return 1 if report.losses else 0


async def _measure(report: Report, work: str, kind: str, server: Server, given: argparse.Namespace) -> None:
    asked: dict[str, Any] = {"repeats": given.repeats, "rows": given.rows, "parts": given.parts}
    async with stage.opened(server, quick=report.quick, **asked) as standing:
        report.durability[kind] = standing.database.durability()
        found = await WORKS[work](standing)
        print("\n".join(table(found)), file=sys.stderr, flush=True)  # a run that is ended early has said something
        report.rows += found
        report.books[f"{work} on {kind}"] = len(standing.told) + standing.told_elsewhere
        report.losses += [f"{work} on {kind}: {one}" for one in stage.losses(standing)]


def _parts(text: str) -> tuple[str, ...]:
    chosen = tuple(one.strip() for one in text.split(",") if one.strip())
    if unknown := [one for one in chosen if one not in PARTS]:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is none of {', '.join(PARTS)}")
    return chosen


def _works(text: str) -> list[str]:
    chosen = [one.strip().upper() for one in text.split(",") if one.strip()]
    unknown = [one for one in chosen if one not in WORKS]
    if unknown or not chosen:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown) or text!r} is none of {', '.join(WORKS)}")
    return chosen


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
