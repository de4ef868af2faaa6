"""A store over an empty database that has the newest schema, on each kind of database."""

from collections.abc import Iterator

import pytest

from controlplane.store import Store
from controlplane.store.migrations import migrate
from tests.engine.stage import NOW


@pytest.fixture
def store(migrated_url: str) -> Iterator[Store]:
    """Open and migrated; closed at the end."""
    one = Store(migrated_url)
    one.open()
    migrate(one, NOW)
    yield one
    one.close()
