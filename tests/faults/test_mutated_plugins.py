"""Damaged modules, uploaded and run on a real agent: whatever they are, the control plane and the agent go on.

Not on both databases: what a module is, is decided before and after the store has it.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from pawl.wasm import ModuleRefused, sections, unsigned_leb, validate

from tests.agent.hostile import HOSTILE, End
from tests.agent.wasm_stage import execute
from tests.spec.place import ENDED, SLOTS, Place, opened

COUNT = int(os.environ.get("PAWL_MUTATED_PLUGINS", "40"))
"""`make faults` asks for 1,000."""
SEED = int(os.environ.get("PAWL_SEED", "20261128"))
RUN_SECONDS = 2
EXAMPLES = Path(__file__).parents[2] / "plugins" / "examples"
SOUND = [
    *((EXAMPLES / name / "plugin.wasm").read_bytes() for name in ("hello-c", "wordcount-rust", "primes-zig")),
    *(one.module for one in HOSTILE if one.end is not End.REFUSED),
]


CODE = 10
DEEP = (4, 5, 6, 9, CODE, 11)
"""Tables, memories, globals, elements, code, data: what the validator leaves to the compiler, or reads only in part."""
ALIKE = [
    range(0x45, 0x50),
    range(0x50, 0x5B),
    range(0x67, 0x79),
    range(0x79, 0x8B),
    range(0x28, 0x3F),
    range(0x0C, 0x0E),
]
"""Opcodes that take and give the same, or nearly: tests, arithmetic, loads and stores, branches."""


def mutated(chance: random.Random) -> bytes:
    """A module with one to three kinds of damage, most of it where only the compiler and the run can find it."""
    module = chance.choice(SOUND)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        shallow = chance.choice((bits, piece_lost, piece_twice, noise, cut_short, sections_moved, section_damaged))
        module = chance.choice((opcodes_exchanged, opcodes_exchanged, deep_bits, shallow))(module, chance)
    return module


def opcodes_exchanged(module: bytes, chance: random.Random) -> bytes:
    """Other code of the same shape: some of it compiles, and does something else."""

    def exchanged(content: bytes) -> bytes:
        data = bytearray(content)
        for _ in range(chance.randint(1, 12)):
            at = chance.randrange(len(data))
            alike = next((one for one in ALIKE if data[at] in one), None)
            if alike is not None:
                data[at] = chance.choice(alike)
        return bytes(data)

    return _rebuilt([(number, exchanged(content) if number == CODE and content else content)
                     for number, content in _parts(module)] or [(0, b"\1x")])  # fmt: skip


def deep_bits(module: bytes, chance: random.Random) -> bytes:
    parts = _parts(module)
    deep = [at for at, (number, content) in enumerate(parts) if number in DEEP and content]
    if not deep:
        return bits(module, chance)
    at = chance.choice(deep)
    parts[at] = parts[at][0], bits(parts[at][1], chance)
    return _rebuilt(parts)


def bits(module: bytes, chance: random.Random) -> bytes:
    data = bytearray(module)
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def _slice(module: bytes, chance: random.Random) -> tuple[int, int]:
    begin = chance.randrange(len(module))
    return begin, min(len(module), begin + chance.randint(1, 64))


def piece_lost(module: bytes, chance: random.Random) -> bytes:
    begin, end = _slice(module, chance)
    return module[:begin] + module[end:] or module


def piece_twice(module: bytes, chance: random.Random) -> bytes:
    begin, end = _slice(module, chance)
    return module[:end] + module[begin:end] * chance.choice((1, 1, 100)) + module[end:]


def noise(module: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(module))
    return module[:at] + chance.randbytes(chance.randint(1, 32)) + module[at:]


def cut_short(module: bytes, chance: random.Random) -> bytes:
    return module[: chance.randint(1, len(module))]


def _rebuilt(parts: list[tuple[int, bytes]]) -> bytes:
    whole = (bytes([number]) + unsigned_leb(len(content)) + content for number, content in parts)
    return b"\0asm\x01\0\0\0" + b"".join(whole)


def _parts(module: bytes) -> list[tuple[int, bytes]]:
    try:
        return list(sections(module))
    except ModuleRefused:  # it is damaged already
        return []


def sections_moved(module: bytes, chance: random.Random) -> bytes:
    parts = _parts(module)
    chance.shuffle(parts)
    return _rebuilt(parts) if parts else bits(module, chance)


def section_damaged(module: bytes, chance: random.Random) -> bytes:
    """Damage inside of a section whose length then is right again: it gets further than any other."""
    parts = [(number, content) for number, content in _parts(module) if content]
    if not parts:
        return bits(module, chance)
    at = chance.randrange(len(parts))
    number, content = parts[at]
    parts[at] = number, chance.choice((bits, noise, piece_lost, piece_twice))(content, chance)
    return _rebuilt(parts)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with opened(f"sqlite:///{tmp_path}/pawl.db", tmp_path, {"any": {}}) as place:
        yield place


@pytest.mark.timeout(60 + 3 * COUNT)
def test_damaged_modules_are_refused_or_fail_and_everything_goes_on(place: Place) -> None:
    chance = random.Random(SEED)  # repeatable, not secret
    running: list[str] = []
    seen: set[str] = set()
    refused = 0
    for number in range(COUNT):
        module = mutated(chance)
        answer = place.client.post("/plugins", content=module, headers={"Content-Type": "application/wasm"})
        assert answer.status_code in (200, 400, 409), (SEED, number, answer.text)
        if answer.status_code != 200:
            refused += 1
            continue
        validate(module, None)
        found = answer.json()
        if found["digest"] in seen:
            continue
        seen.add(found["digest"])
        running.append(place.start(found["digest"], entry=found["entries"][0], timeout=RUN_SECONDS))
        while len(running) > 2 * SLOTS:
            assert place.ended(running.pop(0))["status"] in ENDED
    for task in running:
        assert place.ended(task)["status"] in ENDED
    assert refused
    assert seen
    agent = place.agents["any"]
    assert agent.poll() is None
    [known] = place.call("POST", "/agents/query", json={})["data"]
    assert known["status"] == "ONLINE"
    well = execute("(call $put (call $pawl (call $op)))", op='{"op": "heartbeat"}')
    assert place.answer(place.push(well)) == {"ok": {"cancel_requested": False}}
    assert place.call("GET", "/system/health")["status"] == "SERVING"
