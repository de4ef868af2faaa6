"""`pawl doctor`: looks at what usually goes wrong, says what it saw, and what to do about it.

Each look is a function that answers with a verdict; what an agent can do here is asked through the entry points
`pawl.checks`, since the control plane does not import agents.
"""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from controlplane.config import Settings
from controlplane.domain.errors import PawlError
from controlplane.store import Store, migrations
from controlplane.version import VERSION

Verdict = tuple[str, str, str]  # ok, note or bad; what was looked at; what was seen
PROBE_SECONDS = 3.0


def in_lines(verdicts: Iterator[Verdict], say: Callable[[str], None]) -> int:
    """Say each verdict as soon as it is there; how many things are wrong."""
    problems = 0
    for verdict, what, seen in verdicts:
        problems += verdict == "bad"
        say(f"  {({'ok': 'ok  ', 'note': 'note', 'bad': 'BAD '})[verdict]}  {what:<22} {seen}")
    say("" if not problems else f"\n{problems} thing(s) need attention")
    return problems


def examine(settings: Settings, address: str | None) -> Iterator[Verdict]:
    """Look at one thing after the other."""
    yield "ok", "pawl", f"{VERSION} on Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    yield _folder("data folder", settings.data_dir)
    yield from _database(settings)
    running = _server(address)
    yield running
    for name, port in (("HTTP port", settings.server.http_port), ("gRPC port", settings.server.grpc_port)):
        yield _port(name, settings.server.host, port, is_up=running[0] == "ok")
    for point in entry_points(group="pawl.checks"):
        yield from point.load()()


def _folder(what: str, path: Path) -> Verdict:
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    if not existing.is_dir():
        return "bad", what, f"{path}: {existing} is a file; choose another with --data-dir"
    if not os.access(existing, os.W_OK):
        return "bad", what, f"{path}: {existing} is not writable; choose another with --data-dir"
    mode = path.stat().st_mode & 0o077 if path.exists() else 0
    if mode:
        return "note", what, f"{path} is open to other users (chmod 700 {path})"
    return "ok", what, str(path)


def _database(settings: Settings) -> Iterator[Verdict]:
    store = Store(settings.database_url, pool_size=2)
    shown = store.url.split("@")[-1] if "@" in store.url else store.url
    if not store.exists():
        yield "ok", "database", f"{shown} (made by the first server)"
        return
    try:
        store.open()
        waiting = migrations.pending(store)
    except PawlError as error:
        held = store.is_sqlite and "in use by" in error.message
        yield ("note" if held else "bad"), "database", error.message
        return
    finally:
        store.close()
    yield "ok", "database", shown
    if waiting:
        yield "note", "schema", f"revisions {waiting} are pending; a server applies them, or: pawl migrate"
    else:
        yield "ok", "schema", f"revision {migrations.LATEST}"


def _port(what: str, host: str, port: int, *, is_up: bool) -> Verdict:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("" if host == "0.0.0.0" else host, port))
        except OSError as error:
            if is_up:
                return "ok", what, f"{port} is in use, and a control plane is up"
            return "bad", what, f"{port}: {error.strerror}; stop what uses it, or choose another port"
    return "ok", what, f"{port} is free"


def _server(address: str | None) -> Verdict:
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from pawl.address import DEFAULT_SERVER, parse

    try:
        target = parse(address or DEFAULT_SERVER)
    except ValueError as error:
        return "bad", "control plane", str(error)
    with grpc.insecure_channel(target.target) as channel:
        try:
            request = health_pb2.HealthCheckRequest()
            stub: Any = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(request, timeout=PROBE_SECONDS)
        except grpc.RpcError as error:
            why = f"nothing answers at {target.target} ({error.code().name})"
            return ("bad" if address else "note"), "control plane", f"{why}; start one: pawl dev"
    word = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return ("ok" if word == "SERVING" else "bad"), "control plane", f"{target.target} is {word}"
