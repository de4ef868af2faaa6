"""A cluster for each test, ended with it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.cluster import Cluster


@pytest.fixture
def cluster(tmp_path: Path, database_url: str) -> Iterator[Cluster]:
    """On each kind of database; nothing is started yet."""
    with ended(Cluster(tmp_path, database_url)) as made:
        yield made


@pytest.fixture
def sqlite_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """On SQLite alone, for what has nothing to do with the kind of database."""
    with ended(Cluster(tmp_path, f"sqlite:///{tmp_path}/pawl.db")) as made:
        yield made


@pytest.fixture
def postgres_cluster(tmp_path: Path, postgres_url: str) -> Iterator[Cluster]:
    """On PostgreSQL alone, for what takes several control planes."""
    with ended(Cluster(tmp_path, postgres_url)) as made:
        yield made


@contextmanager
def ended(cluster: Cluster) -> Iterator[Cluster]:
    """End it, and leave for pytest, which shows it when the test failed, what everybody said."""
    try:
        yield cluster
    finally:
        cluster.close()
        sys.stdout.write(cluster.said())
