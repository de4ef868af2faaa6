"""What every test may ask for: a database of its own, on SQLite and on a real PostgreSQL."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from tests.engine.stage import opened
from tests.postgres import NoPostgres, Postgres, find

# Examples run beside other tests on small machines: how long one takes says nothing.
settings.register_profile("pawl", deadline=None)
settings.load_profile("pawl")


# Servers of this process write their lines past what tests catch: a command's stdout is the command's alone.
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))

# A shell ignores Ctrl-C for what it starts in the background, and our children would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


LACKING = ("no toolchain: ", "not on this machine: ")
"""Begin the reasons of skips for want of what a machine may lack, also in CI: another language's compiler, root's
rights, control groups."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """CI has all that tests may need, so a skip there is a test that silently stopped looking."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or terminal is None:
        return
    skipped = terminal.stats.get("skipped", ())
    lacking = [one for one in skipped if any(words in str(one.longrepr) for words in LACKING)]
    for report in lacking:
        terminal.write_line(f"not run: {report.nodeid}: {report.longrepr[-1]}")
    if len(lacking) < len(skipped):
        terminal.write_line("CI refuses skips", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server of this run, started by the first test that asks for it."""
    try:
        server = Postgres(find())
    except NoPostgres as reason:
        if os.environ.get("CI"):
            pytest.fail(f"CI must not skip: {reason}")
        pytest.skip(str(reason))
    with server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """An empty database on PostgreSQL, for this test alone."""
    with postgres.database() as name:
        yield postgres.url(name)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, for this test alone: the test runs once on each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/pawl.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture(scope="session")
def migrated(postgres: Postgres) -> Iterator[str]:
    """The name of a database with the newest schema, to be copied: a copy is made faster than the schema."""
    with postgres.database() as name:
        with opened(postgres.url(name)):
            pass
        yield name


@pytest.fixture(params=["sqlite", "postgres"])
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The same as `database_url`, but the schema may be there already."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/pawl.db"
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.database(request.getfixturevalue("migrated")) as name:
        yield server.url(name)
