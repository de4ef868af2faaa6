"""`pawl doctor` and `pawl migrate --check`: they look, say what is wrong and what helps, and leave nothing behind."""

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.postgres import free_port
from tests.spec.conftest import serving

PAWL = Path(sys.executable).with_name("pawl")


@dataclass
class Machine:
    """A home folder, free ports, and `pawl` in it."""

    home: Path
    http: int
    grpc: int

    @property
    def data(self) -> Path:
        return self.home / "data"

    def pawl(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "PAWL_SERVER_DATA_DIR": str(self.data),
            "PAWL_SERVER_HTTP_PORT": str(self.http),
            "PAWL_SERVER_GRPC_PORT": str(self.grpc),
            "PAWL_SERVER_HOST": "127.0.0.1",
            "PAWL_AGENT_DATA_DIR": str(self.home / "agent"),
        }
        return subprocess.run(
            [PAWL, *arguments], env=environment, cwd=self.home, capture_output=True, text=True, timeout=60, check=False
        )

    def doctor(self, *arguments: str | Path) -> tuple[int, dict[str, tuple[str, str]]]:
        """Exit code, and what was looked at with its verdict and what was seen."""
        ended = self.pawl("doctor", *arguments)
        assert "Traceback" not in ended.stderr, ended.stderr
        lines = re.findall(r"^  (ok|note|BAD) +(\S+(?: \S+)*?) {2,}(.+)$", ended.stdout, re.MULTILINE)
        return ended.returncode, {what: (verdict, seen) for verdict, what, seen in lines}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, free_port(), free_port())


def test_a_machine_that_is_well_is_exit_code_0(machine: Machine) -> None:
    code, seen = machine.doctor("--server", f"127.0.0.1:{machine.grpc}")
    # Nothing runs, and somebody asked for it by name: that alone is wrong.
    assert (code, [what for what, (verdict, _) in seen.items() if verdict == "BAD"]) == (1, ["control plane"])
    with serving(f"sqlite:///{machine.home}/other.db", machine.home / "other") as addresses:
        code, seen = machine.doctor("--server", addresses.grpc)
    assert {what: one for what, one in seen.items() if one[0] == "BAD"} == {}
    assert code == 0
    assert seen["control plane"] == ("ok", f"{addresses.grpc} is SERVING")
    assert seen["HTTP port"] == ("ok", f"{machine.http} is free")
    assert seen["gRPC port"] == ("ok", f"{machine.grpc} is free")
    assert seen["database"][1].endswith("(made by the first server)")


def test_looking_leaves_nothing_behind(machine: Machine) -> None:
    machine.doctor()
    assert sorted(machine.home.iterdir()) == []


def test_a_server_that_is_up_is_why_its_ports_and_its_file_are_taken(machine: Machine) -> None:
    machine.data.mkdir(mode=0o700)
    with serving(f"sqlite:///{machine.data}/pawl.db", machine.data) as addresses:
        machine.http, machine.grpc = (int(one.rpartition(":")[2]) for one in (addresses.http, addresses.grpc))
        code, seen = machine.doctor("--server", addresses.grpc)
    assert code == 0, seen
    assert seen["HTTP port"] == ("ok", f"{machine.http} is in use, and a control plane is up")
    assert seen["gRPC port"] == ("ok", f"{machine.grpc} is in use, and a control plane is up")
    assert seen["database"][0] == "note"
    assert f"in use by process {os.getpid()}" in seen["database"][1]


@pytest.mark.parametrize("which", ["HTTP port", "gRPC port"])
def test_a_port_that_somebody_else_has_is_wrong_and_named(machine: Machine, which: str) -> None:
    with socket.create_server(("127.0.0.1", machine.http if which == "HTTP port" else machine.grpc)) as taken:
        code, seen = machine.doctor()
        port = taken.getsockname()[1]
    assert code == 1
    verdict, said = seen[which]
    assert verdict == "BAD"
    assert said.startswith(f"{port}: ")
    assert "choose another port" in said


def test_a_database_that_does_not_answer_is_wrong_and_its_password_stays_secret(machine: Machine) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and never listens
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        code, seen = machine.doctor("--database", f"postgresql://me:hush@{address}/pawl")
    assert code == 1
    verdict, said = seen["database"]
    assert verdict == "BAD"
    assert address in said
    assert "hush" not in said


def test_a_database_that_answers_shows_its_schema(machine: Machine, postgres_url: str) -> None:
    code, seen = machine.doctor("--database", postgres_url)
    assert code == 0, seen
    assert seen["schema"][0] == "note"
    assert "pawl migrate" in seen["schema"][1]
    assert machine.pawl("migrate", "--database", postgres_url).returncode == 0
    assert machine.doctor("--database", postgres_url)[1]["schema"][0] == "ok"


def test_a_data_folder_that_cannot_be_is_wrong_for_root_too(machine: Machine) -> None:
    (machine.home / "file").write_text("in the way")
    code, seen = machine.doctor("--data-dir", machine.home / "file" / "data")
    assert code == 1
    verdict, said = seen["data folder"]
    assert verdict == "BAD"
    assert str(machine.home / "file") in said
    assert "--data-dir" in said


def test_a_wrong_setting_ends_it_with_exit_code_2(machine: Machine) -> None:
    (machine.home / "config.toml").write_text("[server]\nhttp_prot = 1\n")
    ended = machine.pawl("doctor")
    assert ended.returncode == 2
    assert "server.http_prot: unknown setting" in ended.stderr


def test_checking_the_schema_does_not_make_the_file(machine: Machine) -> None:
    ended = machine.pawl("migrate", "--check")
    assert ended.returncode == 1
    assert ended.stdout.startswith("pending: 1")
    assert sorted(machine.home.iterdir()) == []
    assert machine.pawl("migrate").stdout.startswith("applied: 1")
    ended = machine.pawl("migrate", "--check")
    assert (ended.returncode, ended.stdout) == (0, "the schema is up to date\n")


def test_programs_read_what_was_seen_as_json(machine: Machine) -> None:
    assert json.loads(machine.pawl("migrate", "--check", "--output", "json").stdout)["pending"][0] == 1
    assert json.loads(machine.pawl("migrate", "-o", "json").stdout)["applied"][0] == 1
    assert json.loads(machine.pawl("migrate", "--check", "-o", "json").stdout) == {"pending": []}
    with socket.create_server(("127.0.0.1", machine.http)):
        ended = machine.pawl("doctor", "--output", "json")
    verdicts = {one["what"]: one["verdict"] for one in json.loads(ended.stdout)}
    assert (ended.returncode, verdicts["HTTP port"], verdicts["schema"]) == (1, "bad", "ok")
    assert machine.pawl("doctor", "--output", "xml").returncode == 2
