"""A cluster for each test, ended with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.cluster import Cluster


@pytest.fixture
def cluster(request: pytest.FixtureRequest, tmp_path: Path, database_url: str) -> Iterator[Cluster]:
    """On each database; nothing is started yet. A test that failed shows what everybody said."""
    made = Cluster(tmp_path, database_url)
    failed = request.session.testsfailed
    try:
        yield made
    finally:
        made.close()
        if request.session.testsfailed > failed:
            request.node.add_report_section("call", "cluster", made.said())


@pytest.fixture
def sqlite_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """On SQLite alone, for what has nothing to do with the kind of database."""
    made = Cluster(tmp_path, f"sqlite:///{tmp_path}/pawl.db")
    try:
        yield made
    finally:
        made.close()
