"""`pawl key` at a terminal; from an empty machine on it is told in `tests/deploy/test_keys.py`."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from tests.clients.conftest import Ran
from tests.clients.test_cli import data

Pawl = Callable[..., Ran]


@pytest.mark.parametrize(("given", "days"), [("90d", 90), ("+90d", 90), ("48h", 2)])
def test_the_end_of_a_key_is_a_length_of_time_or_an_instant(pawl: Pawl, name: str, given: str, days: int) -> None:
    made = data(pawl("key", "create", name, "--role", "viewer", "--expires", given, "-o", "json"))
    length = datetime.fromisoformat(str(made["expires_at"])) - datetime.fromisoformat(str(made["created_at"]))
    assert abs(length - timedelta(days=days)) < timedelta(minutes=1)
    assert str(made["secret"]).startswith(f"pawl_{made['prefix']}_")


def test_a_key_without_a_role_or_with_an_end_that_is_no_time_is_not_made(pawl: Pawl, name: str) -> None:
    assert pawl("key", "create", name).code == 2
    assert pawl("key", "create", name, "--role", "viewer", "--expires", "soon").code == 2
    assert pawl("key", "create", name, "--role", "viewer", "--expires", "2020-01-01").code == 2
    assert pawl("key", "create", name, "--role", "viewer", "--namespace", "nowhere").code == 3
    assert pawl("key", "get", name).code == 3


def test_keys_are_listed_without_those_that_are_revoked_unless_all_are_wanted(pawl: Pawl, name: str) -> None:
    secret = pawl("key", "create", name, "--role", "viewer", "--role", "agent", "--namespace", "default").out
    assert secret.count("\n") == 1
    only = json.dumps({"name": {"eq": name}})
    shown = pawl("key", "list", "--filter", only).out
    for word in ("viewer", "agent", "ACTIVE"):  # a cell may be broken at the terminal's width
        assert word in shown
    assert secret.strip() not in shown
    assert pawl("key", "revoke", name).code == 0
    assert name not in pawl("key", "list", "--limit", "1000").out
    assert "REVOKED" in pawl("key", "list", "--all", "--filter", only).out
