"""The plugins that are checked in, run through the real executor."""

import json
import shutil
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import pytest
import pytest_asyncio
from pawl import plugin_case, plugin_project
from pawl.wasm import validate

from agent import rehearsal
from agent.executors.base import Payload
from tests.agent.wasm_stage import Stage, opened

PLUGINS = Path(__file__).parents[2] / "plugins" / "examples"
EXAMPLES = sorted(path.parent for path in PLUGINS.glob("*/plugin.json"))
IN_GO, IN_JAVASCRIPT = PLUGINS / "httpcheck-go", PLUGINS / "orders-javascript"
NO_TOOLCHAIN = "no toolchain: "  # of `conftest.LACKING`
TEMPLATES = Path(str(files("pawl"))) / "plugin_templates"

asynchronous = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with opened(tmp_path_factory.mktemp("wasm")) as stage:
        yield stage


def built(name: str) -> bytes:
    return (PLUGINS / name).read_bytes()


def given(text: str) -> Payload:
    return Payload(text.encode(), "application/json")


def passes(module: bytes, folder: Path) -> None:
    """Every case of the folder holds for this module."""
    paths = sorted((folder / "tests").glob("*.json"))
    assert paths
    cases = [plugin_case.read(path) for path in paths]
    for path, case, seen in zip(paths, cases, rehearsal.run(module, cases), strict=True):
        assert list(plugin_case.differences(case.expect, seen)) == [], (path.stem, seen.log)


def compiled(folder: Path) -> bytes:
    """What the folder's own build makes; skipped by name where the compiler is not there."""
    try:
        return plugin_project.build(folder).data
    except plugin_project.ToolchainMissing as missing:
        pytest.skip(f"{NO_TOOLCHAIN}{missing}")


@pytest.mark.parametrize("folder", [one for one in EXAMPLES if one != IN_JAVASCRIPT], ids=lambda path: path.name)
def test_a_built_example_is_small_says_what_its_plugin_json_says_and_passes_its_cases(folder: Path) -> None:
    module = (folder / "plugin.wasm").read_bytes()
    accepted = validate(module)
    assert accepted.size < (4 << 20 if folder == IN_GO else 50 << 10)
    assert accepted.metadata is not None
    assert accepted.metadata.source == json.loads((folder / "plugin.json").read_text())
    assert accepted.metadata.name == folder.name
    passes(module, folder)


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda path: path.name)
def test_an_example_builds_from_its_source_where_its_compiler_is(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / folder.name, ignore=shutil.ignore_patterns("plugin.wasm"))
    module = compiled(copy)
    if folder == IN_JAVASCRIPT or module != (folder / "plugin.wasm").read_bytes():  # else they have passed above
        passes(module, copy)


@pytest.mark.parametrize("language", plugin_project.LANGUAGES)
def test_a_new_folder_builds_and_passes_its_own_cases(language: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    plugin_project.create(folder, language, "mine")
    passes(compiled(folder), folder)


def test_examples_use_the_same_library_and_build_as_new_folders_get() -> None:
    shared = [path for folder in EXAMPLES for path in folder.rglob("*") if path.name.startswith(("pawl.", "build.sh"))]
    assert len(shared) == 10
    for path in shared:
        language = json.loads((PLUGINS / path.relative_to(PLUGINS).parts[0] / "plugin.json").read_text())["build"]
        template = TEMPLATES / language["language"] / path.relative_to(PLUGINS / path.relative_to(PLUGINS).parts[0])
        assert path.read_bytes() == template.read_bytes(), path


@asynchronous
@pytest.mark.parametrize("text", ['{"name": 3}', "{}", '{"a": {"name": "x"}}', '{"name": "x', "[]", '{"name": "a\nb"}'])
async def test_hello_c_says_what_it_needs(stage: Stage, text: str) -> None:
    result = await stage.run(stage.work(built("hello-c/plugin.wasm"), parameters=given(text)))
    assert result.failure is not None
    assert (result.failure.code, result.failure.retryable) == ("INVALID_INPUT", False)
    assert "parameters.name" in result.failure.message


WORDS = "wordcount-rust/plugin.wasm"


@asynchronous
async def test_wordcount_takes_a_json_string(stage: Stage) -> None:
    result = await stage.run(stage.work(built(WORDS), parameters=given(json.dumps('a \U0001f600 \\" b\tb \x01'))))
    assert result.output is not None
    assert json.loads(result.output.data) == {
        "words": 5,
        "lines": 1,
        "top": [["b", 2], ["\x01", 1], ["a", 1], ["\U0001f600", 1]],
    }


@asynchronous
@pytest.mark.parametrize("text", ["{}", '"open', '"\\x"', '"\\ud800"', ""])
async def test_wordcount_says_what_it_needs(stage: Stage, text: str) -> None:
    result = await stage.run(stage.work(built(WORDS), parameters=given(text)))
    assert result.failure is not None
    assert (result.failure.code, result.failure.retryable) == ("INVALID_INPUT", False)


@asynchronous
async def test_wordcount_reads_a_large_text(stage: Stage) -> None:
    text = Payload(b"word " * 200_000, "text/plain")
    result = await stage.run(stage.work(built(WORDS), parameters=text))
    assert result.output is not None
    assert json.loads(result.output.data)["words"] == 200_000
