"""Schemathesis over our own OpenAPI document, against a real server: all phases, no failure, no 5xx.

Time decides how much of it runs: half a minute here, as long as `PAWL_SCHEMATHESIS_SECONDS` says elsewhere. Three of
its checks come with the exceptions that no schema can say (`schemathesis_hooks.py`); none is off. When a new RPC fails
here: a bound or a pattern belongs into `controlplane/api/openapi_limits.py`, what no schema can say into the hooks.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.spec.conftest import serving

ROOT = Path(__file__).parents[2]
REPLACED = ("positive_data_acceptance", "negative_data_rejection", "allow_header_conformance")
SEED = os.environ.get("PAWL_SEED", "1")
SECONDS = int(os.environ.get("PAWL_SCHEMATHESIS_SECONDS", "25"))


def furnish(url: str) -> None:
    """Things to find: a job, a schedule and a task of each."""
    for path, body in (
        ("jobs", {"id": "", "name": "job", "config": {"cmd": "true"}}),
        ("schedules", {"name": "schedule", "job_id": "job", "kind": "INTERVAL", "interval_seconds": 3600}),
        ("tasks", {"job_id": "job"}),
    ):
        httpx.post(f"{url}/api/v1/{path}", json=body).raise_for_status()


@pytest.mark.timeout(SECONDS + 120)
def test_schemathesis_finds_nothing_in_any_of_its_phases(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [
        *(sys.executable, "-c", "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"),
        *("run", "--max-time", str(SECONDS), "--max-examples", "3", "--seed", SEED, "--no-color"),
        *("--continue-on-failure", "--report", "json", "--report-json-path", str(report)),
        *("--exclude-checks", ",".join(REPLACED)),
    ]
    if SECONDS < 120:  # the seeds' second paths of an RPC are the same RPC: test_parity tells every binding
        command += ["--exclude-operation-id-regex", r"_[0-9]+$"]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.spec.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
    with serving(f"sqlite:///{tmp_path}/pawl.db", tmp_path) as addresses:
        furnish(addresses.http)
        found = subprocess.run(
            [*command, f"{addresses.http}/openapi.json"],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS + 90,
            check=False,
        )
    assert found.returncode == 0, found.stdout
    assert "Coverage" in found.stdout
    assert "Stateful" in found.stdout
    generated = re.search(r"(\d+) generated", found.stdout)
    assert generated is not None
    assert int(generated[1]) > 0
    assert json.loads(report.read_text())
