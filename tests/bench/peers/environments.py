"""The environment of a peer: a virtual environment or a Node project under build/peers, made from a lock with hashes.

It is thrown away with `make clean`, and made anew when its lock has changed. Nothing of it is ever imported here.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.peers.peers import HERE, Peer

PLACE = HERE.parents[2] / "build" / "peers"
SHARED = HERE / "shared"
INSTALL_SECONDS = 300.0


class Missing(Exception):
    """What is needed for a peer and not on this machine."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What runs an adapter."""

    command: tuple[str, ...]
    environ: dict[str, str]


def find(peer: Peer) -> Environment | None:
    """The environment if it stands already; never makes one."""
    if peer.lock is None:
        return _python(Path(sys.executable), peer)
    place = _place(peer, peer.lock)
    if not (place / ".ready").exists() or any(shutil.which(one) is None for one in _programs(peer)):
        return None
    return _node(place, peer) if peer.node else _python(place / "bin" / "python", peer)


def get(peer: Peer) -> Environment:
    """The environment, made if there is none. Raises Missing with what has to be installed, or with why it failed."""
    for program in _programs(peer):
        if shutil.which(program) is None:
            raise Missing(f"{peer.name} needs {program}, which is not on this machine")
    found = find(peer)
    if found is not None:
        return found
    assert peer.lock is not None, "what runs in our environment is always found"
    place = _place(peer, peer.lock)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    if peer.node:
        shutil.copy(peer.folder / "package.json", place)
        shutil.copy(peer.lock, place)
        _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], place)
    else:
        _run([_uv(), "venv", "--quiet", "--python", sys.executable, str(place)], place)
        into = ["--python", str(place / "bin" / "python"), "--require-hashes"]
        _run([_uv(), "pip", "sync", "--quiet", *into, str(peer.lock)], place)
    (place / ".ready").touch()
    found = find(peer)
    assert found is not None, "it has just been made"
    return found


def lock(peer: Peer) -> None:
    """Resolve a peer's lock anew, from the versions in `peers.py` or its package.json: names and hashes, no hosts."""
    if peer.lock is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if peer.node:
            shutil.copy(peer.folder / "package.json", work)
            options = ["--package-lock-only", "--ignore-scripts", "--omit-lockfile-registry-resolved", "--no-audit"]
            _run(["npm", "install", *options], work)
        else:
            (work / "in").write_text("\n".join(peer.requires) + "\n")
            options = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"]
            _run([_uv(), "pip", "compile", "--quiet", *options, "--output-file", peer.lock.name, "in"], work)
        shutil.copy(work / peer.lock.name, peer.lock)


def _programs(peer: Peer) -> Sequence[str]:
    return [*(("node", "npm") if peer.node else ()), *(("redis-server",) if peer.store == "redis" else ())]


def _place(peer: Peer, lock: Path) -> Path:
    kind = lock.read_bytes() + (b"" if peer.node else sys.version.encode())
    return PLACE / f"{peer.name}-{hashlib.sha256(kind).hexdigest()[:12]}"


def _python(program: Path, peer: Peer) -> Environment:
    return Environment((str(program), str(peer.adapter)), {"PYTHONPATH": str(SHARED)})


def _node(place: Path, peer: Peer) -> Environment:
    # Node looks for packages where a script lies.
    for script in (peer.adapter, SHARED / "conversation.mjs"):
        shutil.copy(script, place)
    return Environment(("node", str(place / peer.adapter.name)), {})


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise Missing("uv, which makes the environments, is not on this machine")
    return found


def _run(command: Sequence[str], folder: Path) -> None:
    environ = os.environ | {"UV_NATIVE_TLS": os.environ.get("UV_NATIVE_TLS", "1")}
    environ.pop("VIRTUAL_ENV", None)
    try:
        done = subprocess.run(
            command, cwd=folder, env=environ, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"{' '.join(command[:3])} took more than {INSTALL_SECONDS:.0f} s")
    if done.returncode:
        raise Missing(f"{' '.join(command[:3])} failed: {(done.stderr or done.stdout).strip()[-600:]}")
