"""Plugins on a real agent: what harms nobody but itself, what is granted, what is trusted, what an agent reports."""

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from pawl import signatures
from wasmtime import wat2wasm

from tests.agent.hostile import HOSTILE, End
from tests.agent.wasm_stage import execute
from tests.spec.place import Place, opened
from tests.spec.test_with_an_agent import eventually

SECRET = "s3cret-of-the-test"
KEY = signatures.new_private_key()
STRANGER = signatures.new_private_key()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """With two agents: `any` runs what comes, `strict` what KEY has signed."""
    folder = tmp_path_factory.mktemp("plane")
    with ExitStack() as stack:
        url = f"sqlite:///{folder}/pawl.db"
        if request.param == "postgres":
            server = request.getfixturevalue("postgres")
            url = server.url(stack.enter_context(server.database()))
        strict = {"PAWL_PLUGINS_TRUSTED_KEYS": signatures.public_key_of(KEY)}
        agents = {"any": {"PAWL_SECRET_DOOR": SECRET}, "strict": strict}
        yield stack.enter_context(opened(url, folder, agents))


# Harm


def test_what_must_not_be_stored_is_refused_at_the_upload_with_its_rule(place: Place) -> None:
    for hostile in (one for one in HOSTILE if one.end is End.REFUSED):
        headers = {"Content-Type": "application/wasm"}
        answer = place.client.post("/plugins", content=hostile.module, headers=headers)
        assert answer.status_code == 400, hostile.name
        error = answer.json()["error"]
        assert hostile.words in json.dumps(error["details"]), (hostile.name, error)


def test_hostile_plugins_lose_their_own_tasks_and_nothing_else(place: Place) -> None:
    runs = [one for one in HOSTILE if one.end is not End.REFUSED]
    digests = {one.name: place.push(one.module) for one in runs}
    spared = next(one for one in runs if one.neighbour)  # of each plugin: in tests/agent; here it takes the machine
    neighbour = place.start(digests[spared.name], entry="waits")
    place.task(neighbour, lambda one: one["status"] == "RUNNING")
    hung = (End.HANGS, End.EITHER)
    tasks = [(one, place.start(digests[one.name], timeout=0.5 if one.end in hung else 60)) for one in runs]
    for hostile, task in tasks:
        found = place.ended(task)
        if hostile.end is not End.EITHER:
            assert found["status"] == "FAILED", (hostile.name, found)
        if hostile.end is End.HANGS:
            assert found["error"]["code"] == "TIMEOUT", (hostile.name, found)
        elif hostile.words:
            assert found["error"]["code"] == hostile.words, (hostile.name, found)
    assert place.call("GET", f"/tasks/{neighbour}")["status"] == "RUNNING"
    place.call("POST", f"/tasks/{neighbour}:cancel", json={"reason": "seen enough"})
    place.ended(neighbour)
    [agent] = [one for one in place.call("POST", "/agents/query", json={})["data"] if one["id"] == "any"]
    assert agent["status"] == "ONLINE"
    assert place.answer(place.push(asking({"op": "heartbeat"}))) == {"ok": {"cancel_requested": False}}


# What an agent reports


def test_the_first_agent_that_compiles_a_plugin_says_whether_that_works(place: Place) -> None:
    good = place.push(asking({"op": "heartbeat"}, "reported"))
    assert place.call("GET", f"/plugins/{good}")["status"] == "STORED"
    place.answer(good)
    eventually(lambda: place.call("GET", f"/plugins/{good}"), lambda one: one["status"] == "READY")
    # Its structure is allowed; that its code is not well typed only a compiler sees.
    module = bytes(wat2wasm('(module (func (export "execute_task") (drop (i32.const 1))))'))
    bad = place.push(module.replace(b"\x41\x01\x1a", b"\x1a\x1a\x1a"))
    done = place.ended(place.start(bad))
    assert done["error"]["code"] == "PLUGIN_COMPILE_FAILED"
    found = eventually(lambda: place.call("GET", f"/plugins/{bad}"), lambda one: one["status"] == "REJECTED")
    assert "does not compile" in found["reject_reason"]


# Grants


def asking(op: dict[str, Any], name: str = "") -> bytes:
    """A plugin that makes one call and puts out the answer; the name makes it another plugin."""
    return execute("(call $put (call $pawl (call $op)))", op=json.dumps(op), name=name)


@contextmanager
def site() -> Iterator[str]:
    """A host and port that answers every GET with `here`."""

    class Here(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"here")

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Here) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_plugin_calls_a_host_as_long_as_it_is_granted(place: Place) -> None:
    with site() as host:
        digest = place.push(asking({"op": "http", "args": {"url": f"http://{host}/"}}))
        assert place.answer(digest)["error"]["code"] == "HTTP_HOST_NOT_GRANTED"
        place.call("POST", f"/plugins/{digest}:grant", json={"http": [host]})
        code = "HTTP_ADDRESS_REFUSED"  # the host is granted, but not inside of the agent's own network
        eventually(lambda: place.answer(digest)["error"]["code"], lambda found: found == code)
        place.call("POST", f"/plugins/{digest}:grant", json={"http_private": [host]})
        answer = eventually(lambda: place.answer(digest), lambda found: "ok" in found)
        assert (answer["ok"]["status"], answer["ok"]["body"]) == (200, "here")
        place.call("POST", f"/plugins/{digest}:revoke", json={})
        eventually(lambda: place.answer(digest), lambda found: "error" in found)


def test_a_grant_belongs_to_the_bytes_and_not_to_the_name(place: Place) -> None:
    first = place.push(asking({"op": "secret", "name": "DOOR"}, "first"))
    second = place.push(asking({"op": "secret", "name": "DOOR"}, "second"))
    place.call("POST", f"/plugins/{first}:grant", json={"secrets": ["DOOR"]})
    assert "ok" in place.answer(first)
    assert place.answer(second)["error"]["code"] == "SECRET_NOT_GRANTED"


def test_a_secret_stands_nowhere_that_people_look(place: Place) -> None:
    code = "(call $log_warn (call $pawl (call $op))) (call $put (call $pawl (call $op)))"
    digest = place.push(execute(code, op='{"op": "secret", "name": "DOOR"}'))
    place.call("POST", f"/plugins/{digest}:grant", json={"secrets": ["DOOR"]})
    task = place.start(digest)
    done = place.ended(task)
    assert done["status"] == "SUCCEEDED"
    logs = place.client.get(f"/tasks/{task}/logs").text
    assert "value" in logs
    assert SECRET not in json.dumps(done) + logs


# Trust


def test_an_agent_with_trusted_keys_runs_what_they_have_signed(place: Place) -> None:
    digest = place.push(asking({"op": "heartbeat"}, "to be signed"))
    done = place.ended(place.start(digest, on="strict"))
    assert done["error"]["code"] == "PLUGIN_UNTRUSTED"
    assert "not signed" in done["error"]["message"]
    _sign(place, digest, STRANGER)
    done = place.ended(place.start(digest, on="strict"))
    assert done["error"]["code"] == "PLUGIN_UNTRUSTED"
    assert signatures.key_id(signatures.public_key_of(STRANGER)) in done["error"]["message"]
    _sign(place, digest, KEY)
    assert place.ended(place.start(digest, on="strict"))["status"] == "SUCCEEDED"


def _sign(place: Place, digest: str, private: bytes) -> None:
    seal = base64.b64encode(signatures.sign(private, digest)).decode()
    place.call(
        "POST", f"/plugins/{digest}:sign", json={"public_key": signatures.public_key_of(private), "signature": seal}
    )
