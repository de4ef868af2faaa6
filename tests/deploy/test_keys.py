"""From an empty machine to a server that asks for keys, by the commands that people type."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pawl.cli import root
from pawl.client import BlockingClient, Client
from pawl.errors import PermissionDenied, Unauthenticated

from tests.deploy.test_settings import DEADLINE, Shell, eventually, health
from tests.postgres import free_port

ROOT = Path(__file__).resolve().parents[2]
KEY = re.compile(r"pawl_[a-z2-7]{12}_[0-9A-Za-z]{49}")


@dataclass
class Ran:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


class Machine(Shell):
    """A folder with an environment, in which commands are run to their end too: in this process, which is faster."""

    def __init__(
        self, home: Path, stack: ExitStack, patch: pytest.MonkeyPatch, printed: pytest.CaptureFixture[str]
    ) -> None:
        super().__init__(home, stack)
        self._patch, self._printed = patch, printed
        self.http, self.grpc = free_port(), free_port()
        self.environment |= {"PAWL_SERVER": f"127.0.0.1:{self.grpc}", "XDG_STATE_HOME": str(home / "state")}

    def run(self, *arguments: str | Path, **environment: str) -> Ran:
        """A command, run to its end."""
        with self._patch.context() as patch:
            for name in os.environ:
                if name.startswith("PAWL_"):
                    patch.delenv(name)
            for name, value in (self.environment | environment).items():
                patch.setenv(name, value)
            patch.chdir(self.home)
            patch.setattr(sys, "argv", ["pawl", *map(str, arguments)])
            self._printed.readouterr()
            code = root.run()
            said = self._printed.readouterr()
        return Ran(int(code), said.out, said.err)

    def prints(self, *arguments: str | Path, **environment: str) -> str:
        """What a command that must succeed prints."""
        ended = self.run(*arguments, **environment)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def keep(self, name: str, secret: str) -> str:
        """A key in a file of its own; its path."""
        path = self.home / f"{name}.key"
        path.touch(mode=0o600)
        path.write_text(secret)
        return str(path)

    def serve(self, *options: str) -> subprocess.Popen[bytes]:
        """Start the server and wait for it."""
        ports = ["--http-port", str(self.http), "--grpc-port", str(self.grpc)]
        process = self.start("server", "--host", "127.0.0.1", *ports, *options)
        eventually(lambda: health(self.http), lambda: self.said("server"))
        return process


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Machine]:
    """Where nothing has been done yet."""
    with ExitStack() as stack:
        yield Machine(tmp_path, stack, monkeypatch, capsys)


def test_the_first_key_is_made_once_and_a_lost_one_is_replaced_on_either_database(
    machine: Machine, database_url: str
) -> None:
    there = ("--database", database_url)
    refused = machine.start("server", *there, "--http-port", "0", "--grpc-port", "0")
    assert refused.wait(DEADLINE) == 2
    assert "pawl server init" in machine.said("server")
    assert "Traceback" not in machine.said("server")
    made = machine.run("server", "init", *there)
    assert (made.returncode, bool(KEY.fullmatch(made.stdout.strip()))) == (0, True), made
    assert not KEY.search(made.stderr)
    again = machine.run("server", "init", *there)
    assert (again.returncode, again.stdout) == (4, "")
    assert "there is an admin key already: admin (pawl_" in again.stderr
    assert "pawl server init --again" in again.stderr
    other = json.loads(machine.prints("server", "init", *there, "--again", "--output", "json"))
    assert (other["name"], other["roles"], other["namespaces"]) == ("admin-2", ["ADMIN"], [])
    assert KEY.fullmatch(other["secret"])
    taken = machine.run("server", "init", *there, "--again", "--name", "admin")
    assert (taken.returncode, taken.stdout) == (4, "")
    wrong = machine.run("server", "init", *there, "--again", "--name", "not a name")
    assert (wrong.returncode, wrong.stdout) == (2, "")


def test_a_key_cannot_be_made_in_a_file_that_a_server_holds(machine: Machine) -> None:
    machine.prints("server", "init")
    machine.serve()
    refused = machine.run("server", "init", "--again")
    assert refused.returncode == 5
    assert "is in use by process" in refused.stderr


@pytest.mark.timeout(150)
def test_a_team_works_with_a_key_for_each(machine: Machine) -> None:
    admin = machine.keep("admin", machine.prints("server", "init"))
    server = machine.serve()
    nobody = machine.run("job", "list")
    assert nobody.returncode == 6
    assert "this server asks for a key" in nobody.stderr
    assert "PAWL_API_KEY_FILE" in nobody.stderr

    keys = {"admin": admin}
    for role in ("operator", "submitter", "viewer", "agent"):
        made = machine.run("key", "create", role, "--role", role, "--expires", "1d", PAWL_API_KEY_FILE=admin)
        assert (made.returncode, bool(KEY.fullmatch(made.stdout.strip()))) == (0, True), made
        assert not KEY.search(made.stderr)
        keys[role] = machine.keep(role, made.stdout)

    def by(role: str, *arguments: str | Path) -> Ran:
        return machine.run(*arguments, PAWL_API_KEY_FILE=keys[role])

    agent = machine.start("agent", "--name", "a", "--key-file", keys["agent"])
    assert by("viewer", "job", "create", "hello", "--", "echo", "hello").returncode == 6
    denied = by("submitter", "job", "create", "hello", "--", "echo", "hello")
    assert denied.returncode == 6
    assert "it takes one of the roles admin, operator, and this key has submitter" in denied.stderr
    assert by("operator", "job", "create", "hello", "--", "echo", "hello").returncode == 0
    assert by("viewer", "job", "run", "hello").returncode == 6
    ran = by("submitter", "job", "run", "hello", "--wait")
    assert (ran.returncode, ran.stdout) == (0, "hello\n"), (ran, machine.said("agent"))
    assert by("agent", "task", "list").returncode == 6
    wasm = ROOT / "plugins" / "examples" / "hello-c" / "plugin.wasm"
    assert by("operator", "plugin", "push", wasm).returncode == 0
    assert by("operator", "job", "create", "greet", "--plugin", "hello-c").returncode == 0
    greeted = by("submitter", "job", "run", "greet", "--parameters", '{"name": "Ada"}', "--wait")
    assert (greeted.returncode, greeted.stdout.strip()) == (0, '{"greeting": "hello Ada"}'), greeted

    seen = json.loads(by("admin", "key", "list", "-o", "json").stdout)["data"]
    assert {one["name"] for one in seen} == {"admin", "operator", "submitter", "viewer", "agent"}
    assert not any(one.get("secret") for one in seen)
    own = by("viewer", "key", "list")
    assert "viewer" in own.stdout
    assert "operator" not in own.stdout
    shown = by("admin", "key", "get", "agent")
    assert "everywhere" in shown.stdout

    with BlockingClient(Client(key_file=keys["viewer"], server=f"127.0.0.1:{machine.grpc}")) as pawl:
        assert pawl.call(lambda c: c.jobs.get("hello")).name == "hello"
        with pytest.raises(PermissionDenied):
            pawl.call(lambda c: c.jobs.delete("hello"))
    with (
        BlockingClient(Client(key="pawl_wrong", server=f"127.0.0.1:{machine.grpc}")) as pawl,
        pytest.raises(Unauthenticated),
    ):
        pawl.call(lambda c: c.jobs.get("hello"))

    # The agent's key is replaced: its stream ends, and it comes again once its file holds the new one.
    assert by("admin", "key", "revoke", "agent").returncode == 0
    eventually(lambda: _status(machine, admin) == "DISCONNECTED", lambda: machine.said("agent"))
    eventually(lambda: "the key was revoked" in machine.said("agent"), lambda: machine.said("agent"))
    fresh = machine.run("key", "create", "agent", "--role", "agent", PAWL_API_KEY_FILE=admin).stdout
    (machine.home / "new.key").touch(mode=0o600)
    (machine.home / "new.key").write_text(fresh)
    os.replace(machine.home / "new.key", keys["agent"])
    eventually(lambda: _status(machine, admin) == "ONLINE", lambda: machine.said("agent"))
    assert by("submitter", "job", "run", "hello", "--wait").stdout == "hello\n"

    secrets = [Path(path).read_text().strip().rpartition("_")[2] for path in keys.values()] + [fresh.rpartition("_")[2]]
    for process in (agent, server):
        held = b"".join(Path(f"/proc/{process.pid}/{name}").read_bytes() for name in ("cmdline", "environ"))
        assert not any(secret.encode() in held for secret in secrets)
    for process, name in ((agent, "agent"), (server, "server")):
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
        assert not any(secret in machine.said(name) for secret in secrets)


def _status(machine: Machine, admin: str) -> Any:
    found = json.loads(machine.prints("agent", "get", "a", "-o", "json", PAWL_API_KEY_FILE=admin))
    return found["status"]


def test_who_served_without_keys_makes_the_first_one_over_the_api_and_restarts(machine: Machine) -> None:
    server = machine.serve("--insecure")
    eventually(lambda: "serving without keys" in machine.said("server"), lambda: machine.said("server"))
    key = machine.keep("admin", machine.prints("key", "create", "me", "--role", "admin"))
    assert machine.run("job", "list").returncode == 0
    server.send_signal(signal.SIGTERM)
    assert server.wait(DEADLINE) == 0
    machine.serve()
    assert machine.run("job", "list").returncode == 6
    assert machine.run("job", "list", PAWL_API_KEY_FILE=key).returncode == 0
    assert machine.run("--key-file", key, "job", "list").returncode == 0
    assert machine.run("job", "list", "--key-file", key).returncode == 0
    assert machine.run("job", "list", PAWL_API_KEY=Path(key).read_text()).returncode == 0
    last = machine.run("key", "revoke", "me", "--key-file", key)
    assert last.returncode == 4
    assert "make another first, or force it" in last.stderr


@pytest.mark.parametrize(
    ("mode", "content", "said"),
    [
        (0o644, "pawl_x", "chmod 600"),
        (0o660, "pawl_x", "chmod 600"),
        (0o600, "", "is empty"),
        (0o600, "two words", "is no key"),
        (None, "", "cannot be read"),
    ],
)
def test_a_file_that_is_no_good_for_a_key_is_named_before_anything_is_sent(
    machine: Machine, mode: int | None, content: str, said: str
) -> None:
    path = machine.home / "some.key"
    if mode is not None:
        path.write_text(content)
        path.chmod(mode)
    for command in (("job", "list", "--key-file", path), ("agent", "--key-file", path)):
        ended = machine.run(*command)
        assert ended.returncode == 2, ended
        assert said in ended.stderr
        assert str(path) in ended.stderr
        assert "two words" not in ended.stderr


def test_settings_that_others_may_read_are_no_place_for_a_key(machine: Machine) -> None:
    path = machine.home / "agent.toml"
    path.write_text('[server]\nkey = "pawl_third"\n')
    path.chmod(0o644)
    ended = machine.run("agent")
    assert ended.returncode == 2
    assert "chmod 600 agent.toml" in ended.stderr
    assert "pawl_third" not in ended.stderr


def test_a_key_among_the_settings_is_not_shown(machine: Machine) -> None:
    machine.environment |= {"PAWL_API_KEY": "pawl_secret", "PAWL_SERVER_KEY": "pawl_other"}
    (machine.home / "agent.toml").write_text('[server]\nkey = "pawl_third"\n')
    shown = machine.run("config", "show", "--origin")
    assert shown.returncode == 0, shown.stderr
    assert re.search(r"server\.key +\*\*\* +environment PAWL_SERVER_KEY", shown.stdout)
    assert not re.search(r"pawl_(secret|other|third)", shown.stdout + shown.stderr)
