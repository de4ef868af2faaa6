"""The plugins that are checked in, run through the real executor."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from pawl.wasm import validate

from agent.executors.base import Payload
from tests.agent.wasm_stage import RecordingSink, Stage, opened

PLUGINS = Path(__file__).parents[2] / "plugins"
BUILT = sorted(PLUGINS.glob("*/*.wasm"))

asynchronous = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with opened(tmp_path_factory.mktemp("wasm")) as stage:
        yield stage


def built(name: str) -> bytes:
    return (PLUGINS / name).read_bytes()


def given(text: str) -> Payload:
    return Payload(text.encode(), "application/json")


@pytest.mark.parametrize("path", BUILT, ids=lambda path: path.name)
def test_a_built_plugin_is_taken_small_and_carries_the_metadata_beside_it(path: Path) -> None:
    module = validate(path.read_bytes())
    assert module.size < 50 << 10
    assert module.metadata is not None
    written = json.loads((path.parent / "plugin.json").read_text())
    assert (module.metadata.name, module.metadata.version) == (written["name"], written["version"])
    assert module.metadata.name == path.parent.name


@asynchronous
async def test_hello_c_greets_logs_and_reports(stage: Stage) -> None:
    sink = RecordingSink()
    result = await stage.run(stage.work(built("hello-c/hello.wasm"), parameters=given('{"name": "Ada \\"A\\""}')), sink)
    assert result.failure is None
    assert result.output is not None
    assert result.output.content_type == "application/json"
    assert json.loads(result.output.data) == {"greeting": 'hello Ada "A"'}
    assert sink.text() == "INFO greeting somebody\n"
    assert sink.reports == [(50.0, "half of it is said")]


@asynchronous
async def test_hello_c_without_parameters_greets_the_world_as_its_config_says(stage: Stage) -> None:
    result = await stage.run(stage.work(built("hello-c/hello.wasm"), config={"greeting": 'good "morning"'}))
    assert result.output is not None
    assert json.loads(result.output.data) == {"greeting": 'good "morning" world'}


@asynchronous
@pytest.mark.parametrize("text", ['{"name": 3}', "{}", '{"a": {"name": "x"}}', '{"name": "x', "[]", '{"name": "a\nb"}'])
async def test_hello_c_says_what_it_needs(stage: Stage, text: str) -> None:
    result = await stage.run(stage.work(built("hello-c/hello.wasm"), parameters=given(text)))
    assert result.failure is not None
    assert (result.failure.code, result.failure.retryable) == ("INVALID_INPUT", False)
    assert "parameters.name" in result.failure.message


WORDS = "wordcount-rust/wordcount.wasm"


@asynchronous
async def test_wordcount_counts_a_text_with_the_entry_in_the_form_without_a_result(stage: Stage) -> None:
    sink = RecordingSink()
    text = Payload('The cat, "the" dog\nand thé cat.\n'.encode(), "text/plain; charset=utf-8")
    result = await stage.run(stage.work(built(WORDS), parameters=text, config={"top": "3"}), sink)
    assert result.failure is None
    assert result.output is not None
    counted = json.loads(result.output.data)
    assert counted == {"words": 7, "lines": 2, "top": [["cat", 2], ["the", 2], ["and", 1]]}
    assert sink.text() == "INFO counting 33 bytes\n"
    assert sink.reports == [(50.0, "")]


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
