"""The generated code that is checked in: current, and loadable wherever its package says that it may be installed."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SDK = ROOT / "clients" / "python"

LOAD_EVERYTHING = """
import importlib, pkgutil
import grpc, google.protobuf
import pawl.v1
names = [module.name for module in pkgutil.iter_modules(pawl.v1.__path__)]
for name in names:
    importlib.import_module(f"pawl.v1.{name}")
print(len(names), grpc.__version__, google.protobuf.__version__)
"""


def test_generated_code_is_current() -> None:
    run = subprocess.run(
        [sys.executable, ROOT / "proto" / "generate.py", "--check"],
        check=False, capture_output=True, text=True, timeout=100,
    )  # fmt: skip # one argument list, one line
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.timeout(300)  # installs into an environment of its own
@pytest.mark.parametrize("end", ["oldest", "newest"])
def test_generated_code_loads_on_both_ends_of_what_we_declare(end: str, tmp_path: Path) -> None:
    requirements = generated_code_needs()
    if end == "oldest":
        requirements = [requirement.replace(">=", "==") for requirement in requirements]
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=60)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-compile", *requirements], check=True, timeout=200)

    run = subprocess.run(
        # Warnings are errors: protobuf warns of generated code that the next version will refuse.
        [python, "-W", "error", "-c", LOAD_EVERYTHING],
        check=False, capture_output=True, text=True, timeout=60, cwd=tmp_path, env={"PYTHONPATH": str(SDK / "src")},
    )  # fmt: skip # one argument list, one line

    assert run.returncode == 0, run.stderr
    modules, grpc_version, protobuf_version = run.stdout.split()
    assert int(modules) > 0
    if end == "oldest":
        assert [f"grpcio=={grpc_version}", f"protobuf=={protobuf_version}"] == requirements[:2]


def generated_code_needs() -> list[str]:
    """What the SDK declares of the packages that generated code imports, floors written in full (1.76 is 1.76.0)."""
    declared = tomllib.loads((SDK / "pyproject.toml").read_text())["project"]["dependencies"]
    needed = ("grpcio>=", "protobuf>=", "googleapis-common-protos>=")
    found = [next(line for line in declared if line.startswith(name)) for name in needed]
    return [re.sub(r">=(\d+\.\d+)$", r">=\1.0", line) for line in found]
