"""The run beside others: what it says of a peer is what that peer's tasks wrote. Figures are nobody's business here.

Nothing is installed: Pawl goes through the interface of its peers, and another only where its environment stands.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.databases import Server, served
from tests.bench.peers import environments, works
from tests.bench.peers.__main__ import main
from tests.bench.peers.environments import Missing
from tests.bench.peers.peers import PAWL, PEERS, Peer
from tests.bench.peers.running import Failed, Running, Starts, opened
from tests.bench.peers.works import QUICK, Figures

FOREIGN = [peer for peer in PEERS.values() if peer is not PAWL]
SMALL = works.Size(tasks=100, seconds=0.5, triggers=3, warm=20, steady_seconds=1.5)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served("postgres") as started:
        yield started


@pytest.fixture(scope="module")
def pawl(server: Server) -> Iterator[Running]:
    environment = environments.find(PAWL)
    assert environment is not None
    with server.database() as database, opened(PAWL, environment, database) as running:
        yield running


def test_pawl_is_measured_as_its_peers_are_and_loses_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    assert main(["--quick", "--standing", "--peer", "pawl", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    figures = found["figures"]["pawl"]
    assert (len(figures["bulk"]), len(figures["callers"]), len(figures["trigger"])) == (1, 1, QUICK.triggers)
    assert (figures["missing"], figures["doubled"], figures["notes"]) == (0, 0, [])
    assert "fsync=on" in found["durability"]


@pytest.mark.timeout(200)
def test_who_is_killed_is_started_again_and_the_first_new_task_is_told(pawl: Running) -> None:
    figures = Figures()
    for victim in ("worker", "server"):
        works.kill(pawl, figures, SMALL, victim)
    assert {victim: len(seconds) for victim, seconds in figures.killed.items()} == {"worker": 1, "server": 1}
    assert all(seconds > 0 for found in figures.killed.values() for seconds in found)
    assert len(figures.notes) == 2


def test_a_client_that_is_gone_is_told_and_another_goes_on(pawl: Running) -> None:
    pawl.kill("client")
    with pytest.raises(Failed, match="pawl's client has not answered"):
        pawl.hear(30.0)
    pawl.start("client")
    indexes = pawl.take(1)
    assert pawl.ask("create_each", indexes, callers=1)["refused"] == []
    assert pawl.starts.wait(indexes, 30.0) == 0


def test_a_peer_whose_environment_stands_is_measured(server: Server) -> None:
    standing = ((peer, environments.find(peer)) for peer in FOREIGN)
    peer, environment = next(((peer, one) for peer, one in standing if one is not None), (PAWL, None))
    if environment is None:
        pytest.skip("not on this machine: a peer's environment; `make peers` makes them")
    figures = Figures()
    with server.database() as database, opened(peer, environment, database) as running:
        works.measure(running, figures, SMALL)
    assert (len(figures.bulk), len(figures.callers), len(figures.trigger)) == (1, 1, SMALL.triggers)


def test_a_peer_that_cannot_be_measured_here_is_left_out_and_the_program_it_lacks_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, program in {"bullmq": "node", "celery": "redis-server", "restate": "node"}.items():
        with pytest.raises(Missing, match=f"{name} needs {program}, which is not on this machine"):
            environments.get(PEERS[name])
        assert environments.find(PEERS[name]) is None


def test_a_start_is_counted_once_its_line_is_whole_and_a_second_one_is_a_double(tmp_path: Path) -> None:
    starts = Starts(tmp_path / "starts")
    with starts.path.open("ab", buffering=0) as file:
        file.write(b"1 100\n2 2")
        assert starts.wait([1, 2], 0.0) == 1
        file.write(b"50\n1 300\n")
        assert starts.wait([1, 2], 0.0) == 0
    assert starts.at == {1: [100, 300], 2: [250]}
    assert (starts.twice([1, 2]), starts.twice([2])) == (1, 0)


@pytest.mark.parametrize("peer", FOREIGN, ids=lambda peer: peer.name)
def test_a_lock_names_versions_and_hashes_and_no_host(peer: Peer) -> None:
    assert peer.lock is not None
    words = peer.lock.read_text()
    assert "registry" not in words
    assert "--index-url" not in words
    if peer.node:
        wanted = json.loads((peer.folder / "package.json").read_text())["dependencies"]
        packages = {name: one for name, one in json.loads(words)["packages"].items() if name}
        assert all(packages[f"node_modules/{name}"]["version"] == version for name, version in wanted.items())
        assert all(one["integrity"].startswith("sha512-") and "resolved" not in one for one in packages.values())
    else:
        pinned = re.findall(r"^(\S+)==(\S+?)(?= )", words, re.MULTILINE)
        assert {re.sub(r"\[.*?\]", "", one) for one in peer.requires} <= {"==".join(one) for one in pinned}
        assert len(re.findall(r"^\S+==.* \\\n +--hash=sha256:", words, re.MULTILINE)) == len(pinned)
