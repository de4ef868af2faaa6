"""The guard over the contract: what it says when a change would break users of the last release."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def changed_contract(tmp_path: Path) -> Path:
    """A copy of proto/ whose released image still has the field that its files no longer have."""
    shutil.copytree(ROOT / "proto", tmp_path / "proto", ignore=shutil.ignore_patterns("build"))
    guard("--release", tmp_path)
    job = tmp_path / "proto" / "pawl" / "v1" / "job.proto"
    before = job.read_text()
    job.write_text(before.replace("string name = ", "string title = ", 1))
    assert job.read_text() != before
    return tmp_path


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0.dev0", "1.0.0"])
def test_a_breaking_change_is_refused_from_the_first_release_on(version: str, changed_contract: Path) -> None:
    run = guard("--lint", changed_contract, version)
    assert run.returncode != 0
    assert 'changed name from "name" to "title"' in run.stdout


def test_a_breaking_change_is_reported_before_the_first_release(changed_contract: Path) -> None:
    run = guard("--lint", changed_contract, "0.1.0.dev0")
    assert run.returncode == 0, run.stdout + run.stderr
    assert 'changed name from "name" to "title"' in run.stdout


def guard(flag: str, checkout: Path, version: str = "0.1.0.dev0") -> subprocess.CompletedProcess[str]:
    """Run the generator of another checkout that is at this version of Pawl."""
    (checkout / "pyproject.toml").write_text(f'[project]\nversion = "{version}"\n')
    command: list[str | Path] = [sys.executable, checkout / "proto" / "generate.py", flag]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
