"""Where a client's key comes from, and that nothing shows it."""

import os
from pathlib import Path

import pytest
from pawl.client import Client
from pawl.credential import Credential


def shown(credential: Credential) -> str:
    """What would be sent."""
    return dict(credential.metadata).get("authorization", "")


def kept(folder: Path, text: str, name: str = "key") -> Path:
    """A file with a key that only its user can read."""
    path = folder / name
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def test_what_is_given_wins_over_the_environment_and_a_key_there_over_a_file(tmp_path: Path) -> None:
    environ = {"PAWL_API_KEY": "of-the-environment", "PAWL_API_KEY_FILE": str(kept(tmp_path, "of-a-file"))}
    assert shown(Credential.of("given", None, environ)) == "Bearer given"
    assert shown(Credential.of(None, kept(tmp_path, "another\n", "b"), environ)) == "Bearer another"
    assert shown(Credential.of(None, None, environ)) == "Bearer of-the-environment"
    del environ["PAWL_API_KEY"]
    assert shown(Credential.of(None, None, environ)) == "Bearer of-a-file"
    assert shown(Credential.of(None, None, {})) == ""
    assert shown(Credential.of("", None, environ)) == ""


def test_a_key_and_a_file_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not both"):
        Client("localhost:1", key="a", key_file=kept(tmp_path, "b"))


def test_a_file_is_read_again_when_it_changes_and_the_old_key_holds_while_there_is_none(tmp_path: Path) -> None:
    path = kept(tmp_path, "old")
    credential = Credential(file=path)
    os.replace(kept(tmp_path, "new", "next"), path)
    assert shown(credential) == "Bearer new"
    path.unlink()
    assert shown(credential) == "Bearer new"
    kept(tmp_path, "newest")
    assert shown(credential) == "Bearer newest"
    path.chmod(0o644)
    path.write_text("for all to see")
    assert shown(credential) == "Bearer newest"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_a_file_that_its_group_may_read_will_do(tmp_path: Path, mode: int) -> None:
    path = kept(tmp_path, "key")
    path.chmod(mode)
    assert shown(Credential(file=path)) == "Bearer key"


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o601, 0o666])
def test_a_file_that_others_may_read_or_the_group_may_change_is_refused(tmp_path: Path, mode: int) -> None:
    path = kept(tmp_path, "key")
    path.chmod(mode)
    with pytest.raises(ValueError, match="chmod 600"):
        Credential(file=path)


@pytest.mark.parametrize("text", ["two words", "ünïcode", "line\nbreak", "x" * 5000])
def test_what_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="is no key") as refused:
        Credential(text)
    assert text not in str(refused.value)


def test_no_key_is_shown_by_what_holds_it() -> None:
    client = Client("localhost:1", key="pawl_secret")
    assert "pawl_secret" not in repr(client.connection.credential)
    assert "pawl_secret" not in repr(vars(client))
