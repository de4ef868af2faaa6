"""Artifacts on the agent's side: what is taken of a folder, in which order, and what of it survives."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from pawl.artifacts import content_type_of, name_problem

from agent.artifacts import COMPLAINTS, ArtifactFolder, Rules, Taken

PLACEMENT = "instance.1"


@pytest.fixture
def kept(tmp_path: Path) -> ArtifactFolder:
    """An empty folder of artifacts."""
    folder = ArtifactFolder(tmp_path / "kept")
    folder.open([])
    return folder


def take(kept: ArtifactFolder, tmp_path: Path, files: Mapping[str, bytes], rules: Rules | None = None) -> Taken:
    """What is taken of a program that left these."""
    source = tmp_path / "left"
    for name, data in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    return kept.take(PLACEMENT, str(source), rules or Rules())


def test_equal_bytes_are_kept_once_under_all_their_names(kept: ArtifactFolder, tmp_path: Path) -> None:
    taken = take(kept, tmp_path, {"a": b"same", "b/c": b"same"})
    assert [one.name for one in taken.artifacts] == ["a", "b/c"]
    assert len({one.digest for one in taken.artifacts}) == 1
    assert len(list((tmp_path / "kept" / PLACEMENT).iterdir())) == 1
    assert kept.read(PLACEMENT, taken.artifacts[0].digest, 1) == b"ame"


def test_beyond_their_number_the_first_by_name_are_kept_and_the_others_told(
    kept: ArtifactFolder, tmp_path: Path
) -> None:
    taken = take(kept, tmp_path, {f"{number:02}": b"x" for number in range(40)}, Rules(max_files=2))
    assert [one.name for one in taken.artifacts] == ["00", "01"]
    assert taken.complaints[0] == "artifact '02' is left out: there are 2 already, which is how many there may be"
    assert len(taken.complaints) == COMPLAINTS + 1
    assert taken.complaints[-1] == f"{38 - COMPLAINTS} more artifacts are left out"


def test_sizes_are_bounded_for_one_and_for_all_together(kept: ArtifactFolder, tmp_path: Path) -> None:
    files = {"a": b"x" * 6, "b": b"x" * 11, "c": b"x" * 10, "d": b"x" * 4}
    taken = take(kept, tmp_path, files, Rules(max_file_bytes=10, max_total_bytes=15))
    assert [one.name for one in taken.artifacts] == ["a", "d"]
    assert taken.complaints == [
        "artifact 'b' is left out: it has 11 bytes, and all together may have 15",
        "artifact 'c' is left out: it has 10 bytes, and all together may have 15",
    ]


def test_no_job_can_allow_more_than_the_control_plane_takes() -> None:
    assert Rules(10**9, 10**12, 10**12).bounded() == Rules(1_000, 104_857_600, 1_073_741_824)


def test_names_that_cannot_be_shown_are_left_out_and_told_as_text(kept: ArtifactFolder, tmp_path: Path) -> None:
    (tmp_path / "left").mkdir()
    for name in (b"caf\xe9", b"line\nbreak", "\u202egnp.exe".encode(), "naïve.txt".encode()):
        Path(os.fsdecode(bytes(tmp_path / "left") + b"/" + name)).write_bytes(b"")
    taken = take(kept, tmp_path, {})
    assert [one.name for one in taken.artifacts] == ["naïve.txt"]
    assert sorted(line.split(" is left out")[0] for line in taken.complaints) == [
        r"artifact '\u202egnp.exe'", r"artifact 'caf\udce9'", r"artifact 'line\nbreak'",
    ]  # fmt: skip
    assert all(line.isascii() for line in taken.complaints)


def test_a_link_is_not_followed_and_a_hard_link_is_a_file(kept: ArtifactFolder, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "left" / "folder").mkdir(parents=True)
    (tmp_path / "left" / "file").symlink_to(tmp_path / "secret")
    (tmp_path / "left" / "folder" / "all").symlink_to(tmp_path)
    taken = take(kept, tmp_path, {"plain": b"1"})
    os.link(tmp_path / "secret", tmp_path / "left" / "hard")
    assert [one.name for one in taken.artifacts] == ["plain"]
    assert taken.left_out == 2
    assert (tmp_path / "secret").read_bytes() == b"secret"


def test_what_waits_for_its_result_survives_a_start_and_the_rest_goes(kept: ArtifactFolder, tmp_path: Path) -> None:
    [one] = take(kept, tmp_path, {"a": b"1"}).artifacts
    again = ArtifactFolder(tmp_path / "kept")
    again.open([PLACEMENT])
    assert again.waiting_bytes == 1
    assert again.read(PLACEMENT, one.digest, 0) == b"1"
    assert again.holds(["other", PLACEMENT])
    again.remove([PLACEMENT, "other"])
    assert again.waiting_bytes == 0
    assert list((tmp_path / "kept").iterdir()) == []


def test_files_that_belong_to_no_result_go_at_a_start(kept: ArtifactFolder, tmp_path: Path) -> None:
    take(kept, tmp_path, {"a": b"1"})
    again = ArtifactFolder(tmp_path / "kept")
    again.open(["another"])
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_run_that_left_nothing_leaves_no_folder(kept: ArtifactFolder, tmp_path: Path) -> None:
    assert kept.take(PLACEMENT, str(tmp_path / "missing"), Rules()) == Taken()
    assert list((tmp_path / "kept").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("report.html", "text/html; charset=utf-8"),
        ("a/b.json", "application/json"),
        ("data.csv.gz", "application/gzip"),
        ("x.png", "image/png"),
        ("noending", "application/octet-stream"),
        ("https://evil/x.html", "text/html; charset=utf-8"),
    ],
)
def test_the_type_of_a_file_is_that_of_its_ending(name: str, kind: str) -> None:
    assert content_type_of(name) == kind


@pytest.mark.parametrize("name", ["a", "a/b/c.txt", "..a", "a..b", ".hidden", "naïve – 名前.txt", "a b", "x" * 255])
def test_ordinary_names_are_names(name: str) -> None:
    assert name_problem(name) is None
