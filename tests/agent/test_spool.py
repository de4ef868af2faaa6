from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.spool import Spool, SpoolClosed, SpoolFull, make_record, read_records

ROOT = Path(__file__).resolve().parents[2]


def only_file(folder: Path) -> Path:
    (path,) = folder.glob("*.log")
    return path


async def test_results_wait_in_the_order_in_which_they_were_put(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    await spool.put_many([("a", b"1"), ("b", b"2")])
    await spool.put_many([("c", b"")])
    assert spool.pending() == [("a", b"1"), ("b", b"2"), ("c", b"")]
    spool.close()


async def test_the_next_agent_finds_what_was_not_acknowledged(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    await spool.put_many([("a", b"1"), ("b", b"2"), ("c", b"3")])
    await spool.remove_many(["b", "unknown"])
    spool.close()
    again = Spool(tmp_path)
    assert again.pending() == [("a", b"1"), ("c", b"3")]
    await again.remove_many(["a"])
    again.close()
    last = Spool(tmp_path)
    assert last.pending() == [("c", b"3")]
    last.close()


async def test_a_key_put_again_holds_the_newer_result_only(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    await spool.put_many([("a", b"old"), ("a", b"newer")])
    await spool.put_many([("a", b"newest")])
    assert spool.pending() == [("a", b"newest")]
    assert spool.live_bytes == len(b"newest")
    spool.close()


async def test_a_file_cut_at_any_byte_keeps_every_whole_record_before_the_cut(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "whole")
    items = [("first", b"x" * 5), ("second", b""), ("third", os.urandom(30))]
    ends = []
    for item in items:
        await spool.put_many([item])
        ends.append(only_file(tmp_path / "whole").stat().st_size)
    spool.close()
    data = only_file(tmp_path / "whole").read_bytes()
    for cut in range(len(data) + 1):
        folder = tmp_path / f"cut{cut}"
        folder.mkdir()
        (folder / "000000000001.log").write_bytes(data[:cut])
        torn = Spool(folder)
        assert torn.pending() == items[: sum(end <= cut for end in ends)], cut
        await torn.put_many([("after", b"tear")])
        torn.close()
        healed = Spool(folder)
        assert healed.pending()[-1] == ("after", b"tear"), cut
        healed.close()


async def test_any_damaged_byte_costs_at_most_the_record_that_it_is_in(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "whole")
    items = [(f"k{at}", bytes([at]) * 9) for at in range(4)]
    await spool.put_many(items)
    spool.close()
    data = only_file(tmp_path / "whole").read_bytes()
    header = len(data) - sum(len(make_record(b"", 1, key, value)) for key, value in items)
    for at in range(header, len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 0x55
        survivors = [(key, value) for _, key, value in read_records(bytes(damaged))]
        assert len(survivors) == len(items) - 1, at
        assert all(item in items for item in survivors), at


async def test_a_result_that_looks_like_a_record_is_never_taken_for_one(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    await spool.put_many([("mine", make_record(b"guessed", 1, "theirs", b"forged") + b"tail")])
    spool.close()
    path = only_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-2])
    torn = Spool(tmp_path)
    assert torn.pending() == []
    torn.close()


async def test_concurrent_callers_share_writes_and_each_is_told(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    async with asyncio.TaskGroup() as group:
        for at in range(200):
            group.create_task(spool.put_many([(f"k{at}", b"v")]))
    assert sorted(spool.keys()) == sorted(f"k{at}" for at in range(200))
    spool.close()


async def test_a_full_spool_refuses_and_takes_again_after_acknowledgement(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=100)
    await spool.put_many([("a", b"x" * 60)])
    with pytest.raises(SpoolFull, match="60 bytes"):
        await spool.put_many([("b", b"x" * 60)])
    assert not spool.full
    await spool.remove_many(["a"])
    await spool.put_many([("b", b"x" * 100)])
    assert spool.full
    spool.close()


async def test_the_file_does_not_grow_with_acknowledged_results(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    await spool.put_many([("stays", b"s")])
    for at in range(60):
        await spool.put_many([(f"k{at}", bytes(1 << 20))])
        await spool.remove_many([f"k{at}"])
    assert only_file(tmp_path).stat().st_size < 24 << 20
    assert spool.pending() == [("stays", b"s")]
    spool.close()


async def test_a_failed_write_is_told_and_the_next_one_succeeds(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    await spool.put_many([("a", b"1")])
    read_only = os.open(only_file(tmp_path), os.O_RDONLY)
    os.dup2(read_only, spool._fd)  # a real descriptor that cannot be written
    with pytest.raises(OSError, match="Bad file descriptor"):
        await spool.put_many([("b", b"2")])
    await spool.put_many([("c", b"3")])
    assert spool.pending() == [("a", b"1"), ("c", b"3")]
    os.close(read_only)
    spool.close()


async def test_a_closed_spool_takes_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.close()
    with pytest.raises(SpoolClosed):
        await spool.put_many([("a", b"1")])


@pytest.mark.parametrize("key", ["", "k" * 70_000])
async def test_a_key_that_cannot_be_stored_is_refused(tmp_path: Path, key: str) -> None:
    spool = Spool(tmp_path)
    with pytest.raises(ValueError, match="key"):
        await spool.put_many([(key, b"1")])
    spool.close()


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.text(min_size=1, max_size=5), st.binary(max_size=40)), max_size=6),
    st.binary(max_size=60),
)
@settings(max_examples=200, deadline=None)
def test_records_are_read_back_whatever_rubbish_follows(records: list[tuple[int, str, bytes]], rubbish: bytes) -> None:
    salt = b"0123456789abcdef"
    data = b"PAWLSP1\n" + salt + b"".join(make_record(salt, *record) for record in records)
    assert list(read_records(data + rubbish))[: len(records)] == records


WRITER = """
    import asyncio, sys
    from pathlib import Path
    from agent.spool import Spool

    async def main():
        spool = Spool(Path(sys.argv[1]))
        at = 0
        while True:
            keys = [f"k{at + n}" for n in range(3)]
            await spool.put_many([(key, key.encode() * 50) for key in keys])
            print("\\n".join(keys), flush=True)
            at += 3

    asyncio.run(main())
"""


def test_a_writer_killed_at_any_moment_loses_nothing_that_it_was_promised(tmp_path: Path) -> None:
    for round_number in range(3):
        folder = tmp_path / str(round_number)
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(folder)], stdout=subprocess.PIPE, cwd=ROOT, text=True
        ) as writer:
            assert writer.stdout is not None
            promised = [writer.stdout.readline().strip() for _ in range(20 + 7 * round_number)]
            writer.send_signal(signal.SIGKILL)
            promised += [line.strip() for line in writer.stdout if line.endswith("\n")]
        spool = Spool(folder)
        found = dict(spool.pending())
        spool.close()
        assert [key for key in promised if found.get(key) != key.encode() * 50] == []
