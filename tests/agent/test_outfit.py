"""Executors that others write: one module, one line in the settings, and the agent has them."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from pawl.settings import SettingsError
from pawl.v1 import task_pb2, types_pb2

from agent.config import load
from agent.outfit import Surroundings, loaded
from tests.agent.scripted import ScriptedControlPlane, assign, begins, cancel, hears, running_agent, says, work

PAGE = Path(__file__).parents[2] / "agent" / "EXECUTORS.md"
NOTHING = cast(Surroundings, None)
Status = task_pb2.Task.Status


@pytest.fixture
async def plane() -> AsyncIterator[ScriptedControlPlane]:
    async with ScriptedControlPlane() as made:
        yield made


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """The executor of the page, as a file."""
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path / "script.py"
    path.write_text(code)
    return path


def options(**given: str) -> types_pb2.Payload:
    return types_pb2.Payload(data=json.dumps(given).encode(), content_type="application/json")


async def test_the_executor_of_the_page_runs_what_its_options_say(
    plane: ScriptedControlPlane, tmp_path: Path, script: Path
) -> None:
    async with running_agent(plane, tmp_path, executors__script=f"{script}:Script"):
        hello, *_ = await plane.play(begins())
        offered = {one.name: one.options_schema for one in hello.executors}
        assert json.loads(offered["script"])["required"] == ["language", "source"]
        item = work(1, "", executor="script", options=options(language="python", source="print(6 * 7)"))
        *_, done = await plane.play(says(assign(item)), hears("finished", 1))
        assert (done.status, done.output.data) == (Status.SUCCEEDED, b"42\n")
        item = work(2, "", executor="script", options=options(language="bash", source="sleep 1000"), grace_seconds=0.1)
        await plane.play(says(assign(item)), hears("started", 2), says(cancel(2)))
        *_, stopped = await plane.play(hears("finished", 2))
        assert stopped.status == Status.CANCELLED


async def test_it_runs_where_the_agent_takes_no_programs_of_others(
    plane: ScriptedControlPlane, tmp_path: Path, script: Path
) -> None:
    settings = {"executors__script": f"{script}:Script", "executor__enabled": ["http"]}
    async with running_agent(plane, tmp_path, **settings):
        hello, *_ = await plane.play(begins())
        assert [one.name for one in hello.executors] == ["http", "script"]
        item = work(1, "", executor="script", options=options(language="bash", source="echo $PAWL_ATTEMPT"))
        *_, done = await plane.play(says(assign(item)), hears("finished", 1))
        assert done.output.data == b"1\n"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nonsense", "write it as"),
        ("no.such.module:Thing", "cannot be loaded"),
        ("/no/such/file.py:Thing", "cannot be loaded"),
        ("json:no_such_thing", "there is no no_such_thing in json"),
    ],
)
def test_a_line_that_names_no_executor_is_explained(target: str, words: str) -> None:
    with pytest.raises(SettingsError, match=f"executors.script: .*{words}"):
        loaded("script", target, NOTHING)


def test_a_line_is_called_like_its_executor(tmp_path: Path) -> None:
    path = tmp_path / "other.py"
    path.write_text("class Other:\n    name = 'other'\n    def __init__(self, around): ...\n")
    with pytest.raises(SettingsError, match="this is the executor 'other'"):
        loaded("script", f"{path}:Other", NOTHING)


@pytest.mark.parametrize("name", ["process", "function", "no/name"])
def test_names_of_ours_and_what_is_no_name_are_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"executors.{name}"):
        load(None, {}, {f"executors.{name}": "a:b"})
