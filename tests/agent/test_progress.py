"""What a line about progress means, and which line of the file counts."""

from pathlib import Path

import pytest

from agent.executors.progress import TAIL_BYTES, ProgressFile, last_line, said


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("42", (42.0, "")),
        ("42%", (42.0, "")),
        ("42.5 half of it", (42.5, "half of it")),
        ("42 % half of it", (42.0, "half of it")),
        ("7.", (7.0, "")),
        ("100 done: 3 of 3", (100.0, "done: 3 of 3")),
        ("250 too much", (100.0, "too much")),
        ("words alone", (13.0, "words alone")),
        ("3rd step", (13.0, "3rd step")),
        ("-5 below", (13.0, "-5 below")),
        ("nan", (13.0, "nan")),
        ("1e3", (13.0, "1e3")),
        ('{"percent": 42, "message": "half"}', (42.0, "half")),
        ('{"message": "half"}', (13.0, "half")),
        ('{"percent": 1e999}', (100.0, "")),
        ('{"percent": NaN}', (13.0, "")),
        ('{"percent": true}', (13.0, '{"percent": true}')),
        ("{not json}", (13.0, "{not json}")),
        ("٤٢", (13.0, "٤٢")),
    ],
)
def test_a_line_is_a_number_and_words_or_either_or_an_object(line: str, meaning: tuple[float, str]) -> None:
    assert said(line, 13.0) == meaning


@pytest.mark.parametrize(
    ("tail", "line"),
    [
        (b"", ""),
        (b"\n\n", ""),
        (b"1", "1"),
        (b"1\n2\n", "2"),
        (b"1\n2\n3", "2"),  # the third is being written
        (b"1\r\n2\r\n", "2"),
        (b"1\n  \n", "1"),
        (b"\xff 1\n", "\ufffd 1"),
    ],
)
def test_the_last_whole_line_counts(tail: bytes, line: str) -> None:
    assert last_line(tail) == line


def test_only_what_is_new_is_said_and_a_touch_is_a_sign_of_life(tmp_path: Path) -> None:
    heard: list[tuple[float, str]] = []
    path = tmp_path / "progress"
    file = ProgressFile(str(path), lambda percent, words: heard.append((percent, words)))
    file.look()
    assert heard == []
    path.touch()
    file.look()
    file.look()
    assert heard == [(0.0, "")]
    path.write_text("5 begun\n")
    file.look()
    file.look()
    assert heard[1:] == [(5.0, "begun")]
    with path.open("a") as more:
        more.write("x" * 2 * TAIL_BYTES + "\n9 goes on\n")
    file.look()
    path.unlink()
    path.write_text("10 anew")
    file.look()
    assert heard[2:] == [(9.0, "goes on"), (10.0, "anew")]
