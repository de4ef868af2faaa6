"""The table of deliberate deviations in controlplane/api/README.md: each has its reasons, and a test that there is."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
README = HERE.parents[1] / "controlplane" / "api" / "README.md"
HEADING = "## Where we differ from Envoy and grpc-gateway, on purpose"


def rows() -> list[list[str]]:
    """The cells of each row."""
    section = README.read_text(encoding="utf-8").partition(HEADING)[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[1:]]


def test_every_deviation_is_a_row_with_its_reason_and_its_test() -> None:
    assert len(rows()) >= 20
    for row in rows():
        assert len(row) == 4
        assert all(row), row


@pytest.mark.parametrize("name", [row[3].strip("`") for row in rows()])
def test_the_test_of_a_deviation_exists(name: str) -> None:
    found = [path for path in HERE.glob("test_*.py") if f"def {name}(" in path.read_text(encoding="utf-8")]
    assert len(found) == 1, f"{name} is in {found}"
