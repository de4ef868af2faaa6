"""`pawl system`: what a running control plane logs and is set to, changed and shown from afar."""

import json
import logging
import re
from collections.abc import Callable, Iterator

import pytest

from tests.clients.conftest import PAWL, Ran, eventually

Pawl = Callable[..., Ran]
CALLS = "controlplane.calls"


@pytest.fixture
def levels(pawl: Pawl) -> Iterator[None]:
    """The server is in this process, which has levels of its own: what a test changes is put back."""
    before = logging.getLogger().level
    yield
    for logger in ((), ("--logger", CALLS)):
        assert pawl("system", "log-level", "configured", *logger).code == 0
    logging.getLogger().setLevel(before)


def said(ran: Ran) -> dict[str, object]:
    assert ran.code == 0, ran.err
    return dict(json.loads(ran.out[ran.out.index("{") :]))  # the server is in this process, and logs


def test_a_level_is_changed_shown_and_put_back(pawl: Pawl, levels: None) -> None:
    found = said(pawl("system", "log-level", "debug", "-o", "json"))
    assert (found["level"], found["configured"]) == ("DEBUG", "INFO")
    assert logging.getLogger().level == logging.DEBUG
    assert "debug" in pawl("system", "log-level").out
    assert said(pawl("system", "log-level", "configured", "-o", "json"))["level"] == "INFO"
    assert logging.getLogger().level == logging.INFO


def test_one_logger_is_changed_for_a_while_and_goes_back_by_itself(pawl: Pawl, levels: None) -> None:
    ran = pawl("system", "log-level", "WARN", "--logger", CALLS, "--for", "10m")
    assert ran.code == 0
    assert CALLS in ran.out
    assert "ends in" in ran.out
    found = said(pawl("system", "log-level", "error", "--logger", CALLS, "--for", "0.2", "-o", "json"))
    assert logging.getLogger(CALLS).level == logging.ERROR
    assert [(one["name"], one["level"]) for one in found["loggers"]] == [(CALLS, "ERROR")]  # type: ignore[attr-defined]
    eventually(lambda: logging.getLogger(CALLS).level == logging.NOTSET)
    assert said(pawl("system", "log-level", "-o", "json"))["loggers"] == []


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("loud",), "debug, info, warning, error, configured"),
        (("debug", "--logger", "sqlalchemy.engine"), "sqlalchemy.engine"),
        (("debug", "--for", "soon"), "--for"),
        (("debug", "--for", "2d"), "for_seconds"),
        (("configured", "--for", "1m"), "--for"),
        (("--logger", CALLS), "--logger"),
    ],
)
def test_what_cannot_be_logged_so_is_named(pawl: Pawl, arguments: tuple[str, ...], hint: str) -> None:
    ran = pawl("system", "log-level", *arguments)
    assert ran.code == 2
    assert hint in ran.err


def test_the_settings_of_a_running_server_are_shown_with_what_a_reload_takes_up(pawl: Pawl) -> None:
    rows = {one["key"]: one for one in said(pawl("system", "settings", "-o", "json"))["data"]}  # type: ignore[attr-defined]
    assert (rows["logging.level"]["value"], rows["logging.level"]["reloadable"]) == ("info", True)
    assert rows["server.http_port"]["reloadable"] is False
    assert "logging.level" in pawl("system", "settings").out


def test_what_a_program_asks_for_is_in_its_trace(
    pawl: Pawl, server: str, agent: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pawl("job", "create", f"{name}-below", "--", "sh", "-c", "echo $TRACEPARENT $TRACESTATE $BAGGAGE")
    pawl("job", "create", name, "--", str(PAWL), "--server", server, "job", "run", f"{name}-below", "--wait")
    for variable, value in (("TRACEPARENT", f"00-{'c' * 32}-{'d' * 16}-00"), ("TRACESTATE", "v=1"), ("BAGGAGE", "b=2")):
        monkeypatch.setenv(variable, value)
    ran = pawl("job", "run", name, "--wait")
    assert ran.code == 0, ran.err
    assert ran.out.startswith(f"00-{'c' * 32}-")
    assert ran.out.split()[1:] == ["v=1", "b=2"]


def test_what_a_run_used_is_shown_with_its_instance(pawl: Pawl, agent: str, name: str) -> None:
    pawl("job", "create", name, "--", "sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done")
    task = str(said(pawl("job", "run", name, "--wait", "-o", "json"))["id"])
    shown = " ".join(pawl("task", "instances", task).out.split())
    assert re.search(r"\d\.\ds, CPU \d\.\ds, \d+ MiB", shown), shown
