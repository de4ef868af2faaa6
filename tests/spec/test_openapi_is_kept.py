"""A stranger who only has the OpenAPI document finds no defect and no answer that it does not describe."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.spec.conftest import Plane


@pytest.mark.timeout(180)
def test_the_server_keeps_what_its_document_says(plane: Plane, tmp_path: Path) -> None:
    checks = "not_a_server_error,response_schema_conformance,content_type_conformance,unsupported_method"
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{plane.addresses.http}/openapi.json"),
        *("--phases", "fuzzing", "--max-examples", "3", "--checks", checks, "--suppress-health-check", "all"),
        # What waits on purpose would only wait here.
        *("--exclude-path-regex", ":watch|logs$|:run", "--no-color"),
    ]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=150, cwd=tmp_path)
    assert result.returncode == 0, result.stdout[-4000:]
