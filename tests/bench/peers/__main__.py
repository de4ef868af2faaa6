"""`python -m tests.bench.peers`: the same work by Pawl and by its peers, one after the other, round after round.

Exit code 1 if Pawl lost a task, ran one twice without a kill, or could not be measured; never because of a figure, and
never because of a peer: what a peer did not do is printed.
"""

import argparse
import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.databases import Database, Server, served
from tests.bench.peers import environments, works
from tests.bench.peers.environments import Environment, Missing
from tests.bench.peers.peers import PAWL, PEERS, Peer
from tests.bench.peers.running import Failed, opened
from tests.bench.peers.table import Table
from tests.bench.peers.works import QUICK, Figures, Size


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--peer", type=_peers, default=list(PEERS.values()), help=f"of {','.join(PEERS)}; default all")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    parser.add_argument("--quick", action="store_true", help="small and once: for correctness, not for figures")
    parser.add_argument("--repeats", type=int, default=3, help="rounds over all peers; default 3")
    parser.add_argument("--kills", type=int, help="in so many rounds parts are killed, too; default 1, quick 0")
    parser.add_argument("--standing", action="store_true", help="only peers whose environment is there already")
    parser.add_argument("--lock", action="store_true", help="resolve the locks anew and do nothing else")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what was started is ended, too
    peers = given.peer if PAWL in given.peer else [PAWL, *given.peer]
    if given.lock:
        for peer in peers:
            environments.lock(peer)
        return 0
    table = Table(quick=given.quick)
    found = _environments(peers, table, make=not given.standing)
    repeats, kills, size = (1, 0, QUICK) if given.quick else (given.repeats, 1, Size())
    kills = kills if given.kills is None else given.kills
    try:
        with served("postgres") as server:
            with server.database() as database:
                table.durability = database.durability()
            for turn in range(repeats):
                for peer, environment in _turned(found, turn):
                    _round(server, peer, environment, table, size, kills=turn < kills)
    finally:  # who is interrupted has the rounds that were
        table.end()
        print(table.markdown())
        if given.json:
            given.json.write_text(table.json() + "\n", encoding="utf-8")
    ours = table.figures[PAWL.name]
    whole = bool(ours.bulk and ours.callers and ours.trigger)
    return 0 if whole and not ours.missing and not ours.doubled else 1


def _environments(peers: Sequence[Peer], table: Table, *, make: bool) -> list[tuple[Peer, Environment]]:
    """Of those that can be measured here; the others are noted with the reason."""
    found = []
    for peer in peers:
        try:
            environment = environments.get(peer) if make else environments.find(peer)
        except Missing as missing:
            table.left_out[peer.name] = str(missing)
            continue
        if environment is None:
            table.left_out[peer.name] = "its environment has not been made"
            continue
        table.figures[peer.name] = Figures()
        found.append((peer, environment))
    return found


def _turned(found: list[tuple[Peer, Environment]], turn: int) -> Sequence[tuple[Peer, Environment]]:
    """Another one begins in each round, so that what changes slowly on the machine meets all."""
    at = turn % len(found)
    return found[at:] + found[:at]


def _round(server: Server, peer: Peer, environment: Environment, table: Table, size: Size, *, kills: bool) -> None:
    figures = table.figures[peer.name]
    victims = [one for one in ("worker", peer.victim) if one] if kills else []
    for victim in ("", *victims):
        what = f"{victim} killed" if victim else "work"
        print(f"{peer.name}, {what} ...", file=sys.stderr, flush=True)
        try:
            # A life for each: what a kill left behind is not measured with the rest.
            with _database(server, peer) as database, opened(peer, environment, database) as running:
                if victim:
                    works.kill(running, figures, size, victim)
                else:
                    works.measure(running, figures, size)
        except (Failed, TimeoutError, OSError, subprocess.SubprocessError) as error:
            figures.notes.append(f"{what}: {type(error).__name__}: {error}")


@contextlib.contextmanager
def _database(server: Server, peer: Peer) -> Iterator[Database | None]:
    """A fresh one for those that need it."""
    if peer.store != "postgres":
        yield None
        return
    with server.database() as database:
        yield database


def _peers(text: str) -> list[Peer]:
    chosen = [one.strip().lower() for one in text.split(",") if one.strip()]
    unknown = [one for one in chosen if one not in PEERS]
    if unknown or not chosen:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown) or text!r} is none of {', '.join(PEERS)}")
    return [PEERS[one] for one in chosen]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
