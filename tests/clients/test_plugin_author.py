"""`pawl plugin new`, `build`, `test` and what signs and grants: from nothing to a plugin that an agent runs."""

import base64
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from pawl import plugin_case, plugin_project, signatures
from pawl.plugin_case import CaseInvalid, Expected, ExpectedError, Failed, Observed
from pawl.script_engine import ROOM_BYTES, ScriptTooLarge, with_script
from pawl.wasm import validate

from tests.clients.conftest import Ran

Pawl = Callable[..., Ran]
ENGINE = Path(plugin_project.__file__).parent / "plugin_templates" / "javascript" / "engine.wasm"


@pytest.fixture
def folder(pawl: Pawl, tmp_path: Path) -> Path:
    """A new plugin in JavaScript, which needs no compiler."""
    made = pawl("plugin", "new", str(tmp_path / "mine"))
    assert made.code == 0, made.err
    assert "plugin.js" in made.out
    return tmp_path / "mine"


# new


def test_a_new_folder_is_named_after_itself_and_holds_what_is_needed(folder: Path) -> None:
    assert json.loads((folder / "plugin.json").read_text())["name"] == "mine"
    assert sorted(path.name for path in folder.iterdir()) == [".gitignore", "plugin.js", "plugin.json", "tests"]


def test_a_folder_with_something_in_it_is_left_alone(pawl: Pawl, folder: Path) -> None:
    before = (folder / "plugin.js").read_text()
    again = pawl("plugin", "new", str(folder), "--language", "c")
    assert again.code == 4
    assert "not empty" in again.err
    assert (folder / "plugin.js").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("a", "--language", "cobol"), "none of c, rust, go"), (("a", "--name", "no name"), "must match")],
)
def test_what_cannot_be_made_is_said_before_anything_is(
    pawl: Pawl, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    made = pawl("plugin", "new", str(tmp_path / arguments[0]), *arguments[1:])
    assert made.code == 2
    assert words in " ".join(made.err.split())
    assert not (tmp_path / arguments[0]).exists()


@pytest.mark.parametrize("language", plugin_project.LANGUAGES)
def test_every_language_has_a_build_or_needs_none(language: str, tmp_path: Path) -> None:
    made = plugin_project.create(tmp_path / "it", language, "it")
    scripts = [path for path in made if path.name == "build.sh"]
    assert len(scripts) == (language != "javascript")
    assert all(os.access(path, os.X_OK) for path in scripts)
    assert not any("{{" in path.read_text() for path in made if path.suffix in (".json", ".toml", ".mod"))


# build


def test_a_build_says_the_digest_and_puts_the_metadata_in(pawl: Pawl, folder: Path) -> None:
    built = pawl("plugin", "build", str(folder))
    assert built.code == 0, built.err
    assert len(built.out.strip()) == 64
    module = validate((folder / "plugin.wasm").read_bytes())
    assert module.metadata is not None
    assert module.metadata.name == "mine"
    assert pawl("plugin", "build", str(folder)).out == built.out  # the same source has the same digest
    (folder / "plugin.js").write_text("function execute_task() { return 1 }")
    assert pawl("plugin", "build", str(folder)).out != built.out


def test_a_missing_compiler_is_named_with_the_way_to_get_it(
    pawl: Pawl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pawl("plugin", "new", str(tmp_path / "c"), "--language", "c")
    monkeypatch.setenv("PATH", str(_only_sh(tmp_path)))
    monkeypatch.setenv("PYTHON", "/none")
    built = pawl("plugin", "build", str(tmp_path / "c"))
    assert built.code == 3
    assert "pip install ziglang" in built.err
    assert not (tmp_path / "c" / "plugin.wasm").exists()


def _only_sh(tmp_path: Path) -> Path:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sh").symlink_to("/bin/sh")
    return programs


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'plugin.c:3: error: what is this' >&2; exit 1", "plugin.c:3: error: what is this"),
        ("true", "it said nothing"),
        ('printf "no module" > "$1"', "NOT_WASM"),
    ],
)
def test_what_a_build_script_did_wrong_is_shown(pawl: Pawl, folder: Path, script: str, words: str) -> None:
    (folder / "build.sh").write_text(script)
    built = pawl("plugin", "build", str(folder))
    assert built.code == 2
    assert words in built.err
    assert not (folder / "plugin.raw.wasm").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [("{", "plugin.json"), ("[]", "must be a JSON object"), ('{"abi": 2, "name": "a", "version": "1"}', "abi")],
)
def test_wrong_metadata_names_the_file(pawl: Pawl, folder: Path, change: str, words: str) -> None:
    (folder / "plugin.json").write_text(
        change if "abi" not in change else change[:-1] + ', "build": {"language": "javascript"}}'
    )
    built = pawl("plugin", "build", str(folder))
    assert built.code == 2
    assert words in built.err


def test_a_folder_that_is_none_says_how_to_make_one(pawl: Pawl, tmp_path: Path) -> None:
    assert "pawl plugin new" in pawl("plugin", "build", str(tmp_path)).err


def test_a_script_that_does_not_fit_is_refused() -> None:
    engine = ENGINE.read_bytes()
    validate(with_script(engine, b"x" * ROOM_BYTES))
    with pytest.raises(ScriptTooLarge):
        with_script(engine, b"x" * (ROOM_BYTES + 1))
    with pytest.raises(ValueError, match="no engine"):
        with_script(b"\0asm\x01\0\0\0", b"")


# test


def test_the_cases_of_a_new_folder_pass_and_a_difference_is_shown(pawl: Pawl, folder: Path) -> None:
    pawl("plugin", "build", str(folder))
    passed = pawl("plugin", "test", str(folder))
    assert passed.code == 0, passed.out + passed.err
    assert "2 passed, 0 failed" in passed.out
    (folder / "tests" / "counts.json").write_text('{"text": "four", "expect": {"output": {"bytes": 5}}}')
    failed = pawl("plugin", "test", str(folder), "-o", "json")
    assert failed.code == 1
    said = json.loads(failed.out)
    assert (said["passed"], said["failed"]) == (1, 1)
    assert said["cases"][0]["differences"] == ['output: expected {"bytes": 5}, got {"bytes": 4}']


def test_one_run_puts_its_output_out_and_its_log_aside(pawl: Pawl, folder: Path) -> None:
    (folder / "plugin.js").write_text(
        "function execute_task(input) { console.warn('seen', input); return [pawl.config('greeting'), input.name] }"
    )
    pawl("plugin", "build", str(folder))
    ran = pawl("plugin", "test", str(folder), "-p", '{"name": "Ada"}', "--config", "greeting=hello")
    assert (ran.code, ran.out) == (0, '["hello","Ada"]')
    assert 'WARN seen {"name":"Ada"}' in ran.err


def test_a_run_that_fails_is_exit_code_1_with_its_code(pawl: Pawl, folder: Path) -> None:
    (folder / "plugin.js").write_text(
        "function execute_task() { throw Object.assign(new Error('later'), {code: 'BUSY', retryable: true}) }"
    )
    pawl("plugin", "build", str(folder))
    ran = pawl("plugin", "test", str(folder), "--text", "x")
    assert ran.code == 1
    assert "BUSY: later, may be retried" in ran.err


def test_what_is_not_there_yet_is_said(pawl: Pawl, folder: Path, tmp_path: Path) -> None:
    assert f"pawl plugin build {folder}" in pawl("plugin", "test", str(folder)).err
    pawl("plugin", "build", str(folder))
    module = (folder / "plugin.wasm").rename(tmp_path / "alone.wasm")
    assert "no cases in" in pawl("plugin", "test", str(module)).err
    (tmp_path / "bad.json").write_text('{"parametres": 1}')
    wrong = pawl("plugin", "test", str(module), "--case", str(tmp_path / "bad.json"))
    assert wrong.code == 2
    assert "parametres" in wrong.err
    assert "bad.json" in wrong.err


SEEN = Observed(b'{"a": 1}', "application/json", None, "INFO one\nINFO two\n", (50.0,), 0.1, 0)
FAILED = Observed(None, "", Failed("BUSY", "come later", True), "", (), 0.1, 0)


@pytest.mark.parametrize(
    ("expected", "seen", "words"),
    [
        (Expected(output=msgspec.Raw(b'{"a":1.0}'), log=("one", "two"), progress=(50,)), SEEN, ""),
        (Expected(output=msgspec.Raw(b"null")), SEEN, "output"),
        (Expected(text="x"), SEEN, "output"),
        (Expected(log=("two", "one")), SEEN, "log"),
        (Expected(progress=()), SEEN, "progress"),
        (Expected(error=ExpectedError(code="BUSY")), SEEN, "error: expected one"),
        (Expected(), FAILED, "failed: BUSY"),
        (Expected(output=msgspec.Raw(b"1"), error=ExpectedError()), FAILED, "output"),
        (Expected(error=ExpectedError(code="BUSY", message="later", retryable=True)), FAILED, ""),
        (Expected(error=ExpectedError(code="DONE")), FAILED, "error.code"),
        (Expected(error=ExpectedError(retryable=False)), FAILED, "error.retryable"),
        (Expected(error=ExpectedError(message="now")), FAILED, "error.message"),
    ],
)
def test_a_difference_is_said_in_one_line(expected: Expected, seen: Observed, words: str) -> None:
    found = list(plugin_case.differences(expected, seen))
    assert len(found) == bool(words)
    assert words in "".join(found)


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"expect": {"outptu": 1}}', '{"text": "a", "parameters": 1}', '{"timeout_seconds": 0}',
     '{"expect": {"output": 1, "text": "1"}}', '{"http": [{"url": "https://a.example", "status": 7}]}'],
)  # fmt: skip
def test_a_case_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(CaseInvalid):
        plugin_case.parse(text.encode())


# push, sign, grant


def test_a_folder_is_pushed_signed_and_granted(pawl: Pawl, folder: Path, tmp_path: Path) -> None:
    assert "pawl plugin build" in pawl("plugin", "push", str(folder)).err
    metadata = json.loads((folder / "plugin.json").read_text())
    metadata["capabilities"] = {"http": ["api.example.com"], "secrets": ["KEY"]}
    (folder / "plugin.json").write_text(json.dumps(metadata))
    pawl("plugin", "build", str(folder))
    made = pawl("plugin", "keygen", str(tmp_path / "key.pem"))
    assert made.code == 0, made.err
    public = made.out.strip()
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert pawl("plugin", "keygen", str(tmp_path / "key.pem")).code == 4
    digest = pawl("plugin", "push", str(folder), "--sign", str(tmp_path / "key.pem")).out.strip()
    stored = json.loads(pawl("plugin", "get", digest, "-o", "json").out)
    assert [one["public_key"] for one in stored["signatures"]] == [public]
    assert signatures.verify(public, digest, base64.b64decode(stored["signatures"][0]["signature"]))
    refused = pawl("plugin", "grant", digest)
    assert refused.code == 2
    assert "asks for http: api.example.com; secrets: KEY" in refused.err
    granted = pawl("plugin", "grant", digest, "--as-asked", "--http-private", "10.0.0.1:80", "-o", "json")
    grant = json.loads(granted.out)["grant"]
    assert (grant["http"], grant["http_private"], grant["secrets"]) == (["api.example.com"], ["10.0.0.1:80"], ["KEY"])
    shown = pawl("plugin", "get", digest).out
    assert "http-private: 10.0.0.1:80" in shown
    assert signatures.key_id(public) in shown
    assert pawl("plugin", "revoke", digest).code == 0
    assert "grant" not in json.loads(pawl("plugin", "get", digest, "-o", "json").out)
    other = signatures.new_private_key()
    (tmp_path / "other.pem").write_bytes(other)
    signed = json.loads(pawl("plugin", "sign", digest, "--with", str(tmp_path / "other.pem"), "-o", "json").out)
    assert len(signed["signatures"]) == 2
    (tmp_path / "no.pem").write_text("no key")
    assert pawl("plugin", "sign", digest, "--with", str(tmp_path / "no.pem")).code == 2
    assert pawl("plugin", "delete", digest).code == 0
