"""Programs of an agent that root started run as the user it names, with what is theirs and nothing more."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.keeper import TaskUser
from agent.taskuser import TaskUserError, task_user
from tests.agent.scripted import ScriptedControlPlane, assign, begins, hears, running_agent, says, shell

only_root = pytest.mark.skipif(os.getuid() != 0, reason="not on this machine: only root may choose the user")
NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def passable() -> Iterator[Path]:
    """A folder that everybody may pass; pytest's own let nobody through."""
    with tempfile.TemporaryDirectory() as outer:
        os.chmod(outer, 0o711)
        yield Path(outer)


@only_root
async def test_a_program_runs_as_the_user_in_folders_of_its_own(passable: Path) -> None:
    script = (
        "id -u; id -g; echo $HOME > $HOME/mine; stat -c %u $HOME $PAWL_PARAMETERS_FILE; cat;"
        " ls .. || echo not listed; cat ../../identity.json || echo not read; test -w .. || echo not written"
    )
    item = shell(1, script)
    item.parameters.data, item.parameters.content_type = b"given\n", "text/plain"
    async with ScriptedControlPlane() as plane, running_agent(plane, passable, agent__task_user="nobody"):
        *_, done = await plane.play(begins(), says(assign(item)), hears("finished", 1))
    assert done.exit_code == 0, done.error
    own, group = str(NOBODY.pw_uid), str(NOBODY.pw_gid)
    said = done.output.data.decode().split("\n")
    assert said == [own, group, own, own, "given", "not listed", "not read", "not written", ""]


@only_root
async def test_a_folder_that_the_user_may_not_pass_to_is_named_at_the_start(passable: Path) -> None:
    closed = passable / "closed"
    closed.mkdir(mode=0o700)
    settings = {"agent__task_user": "nobody", "executor__work_dir": str(closed / "work")}
    async with ScriptedControlPlane() as plane:
        with pytest.raises(OSError, match=r"agent\.task_user.*may not pass to"):
            async with running_agent(plane, passable, **settings):
                pass


@only_root
async def test_a_working_folder_that_the_user_may_not_enter_is_not_entered_for_it(passable: Path) -> None:
    closed = passable / "closed" / "open"
    closed.mkdir(parents=True, mode=0o755)
    closed.parent.chmod(0o700)
    item = shell(1, "ls", cwd=str(closed))
    async with ScriptedControlPlane() as plane, running_agent(plane, passable, agent__task_user="nobody"):
        *_, done = await plane.play(begins(), says(assign(item)), hears("finished", 1))
    assert done.error.code == "CWD_NOT_FOUND"
    assert "Permission denied" in done.error.message


@only_root
def test_a_user_is_a_name_or_numbers() -> None:
    assert task_user("") is None
    assert task_user("root") is None
    nobody = task_user("nobody")
    assert nobody is not None
    assert (nobody.uid, nobody.gid) == (NOBODY.pw_uid, NOBODY.pw_gid)
    assert task_user(str(NOBODY.pw_uid)) == nobody
    assert task_user("54321:54322") == TaskUser(54321, 54322)


@pytest.mark.parametrize(
    ("text", "problem"), [("no-such-user", "no such user"), ("54321", "uid:gid"), ("a:b", "no such user")]
)
def test_a_user_that_is_not_there_is_refused(text: str, problem: str) -> None:
    with pytest.raises(TaskUserError, match=problem):
        task_user(text)


def test_only_root_runs_programs_as_somebody_else() -> None:
    if os.getuid() == 0:
        assert task_user("54321:54321") == TaskUser(54321, 54321)
        return
    with pytest.raises(TaskUserError, match="only an agent that root started"):
        task_user("54321:54321")
