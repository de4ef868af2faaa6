import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pawl import wasm
from pawl.wasm import FunctionType, ModuleRefused, Reason
from wasmtime import wat2wasm

EXECUTE = '(func (export "execute_task"))'


def build(body: str) -> bytes:
    return bytes(wat2wasm(f"(module {body})"))


def refusal(module: bytes, entry: str | None = "execute_task") -> ModuleRefused:
    with pytest.raises(ModuleRefused) as caught:
        wasm.validate(module, entry)
    return caught.value


def leb(value: int) -> bytes:
    out = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def section(number: int, content: bytes) -> bytes:
    return bytes([number]) + leb(len(content)) + content


HEADER = b"\0asm\1\0\0\0"
METADATA: Mapping[str, Any] = {"abi": 1, "name": "hello", "version": "1.0.0"}


def test_the_seed_form_without_a_result_is_taken() -> None:
    module = wasm.validate(build(EXECUTE))
    assert module.exports == {"execute_task": FunctionType((), ())}
    assert not module.wasi
    assert module.metadata is None


def test_an_entry_may_return_a_code() -> None:
    assert wasm.validate(build('(func (export "execute_task") (result i32) i32.const 0)')).exports


def test_another_entry_may_be_asked_for() -> None:
    module = build('(func (export "resize"))')
    wasm.validate(module, "resize")
    refused = refusal(module)
    assert refused.reason is Reason.ENTRY_MISSING
    assert "'execute_task'" in refused.message
    assert "resize" in refused.message


@pytest.mark.parametrize(
    "kind", ["(param i32)", "(result i64) i64.const 0", "(result i32 i32) i32.const 0 i32.const 0"]
)
def test_an_entry_that_a_task_cannot_call_is_refused(kind: str) -> None:
    assert refusal(build(f'(func (export "execute_task") {kind})')).reason is Reason.ENTRY_TYPE


def test_the_functions_that_a_task_can_call_are_listed() -> None:
    text = f'(func (export "_initialize")) (func (export "sized") (param i32)) (func (export "b")) {EXECUTE}'
    assert wasm.validate(build(text)).entries == ("b", "execute_task")


def test_a_memory_named_like_the_entry_is_no_entry() -> None:
    assert refusal(build('(memory (export "execute_task") 1)')).reason is Reason.ENTRY_MISSING


@pytest.mark.parametrize("data", [b"", b"\0as", b"(module)", b'{"wasm": [{"path": "/etc/passwd"}]}', b"\x7fELF" * 9])
def test_what_is_not_wasm_is_refused(data: bytes) -> None:
    assert refusal(data).reason is Reason.NOT_WASM


def test_a_component_is_named_as_such() -> None:
    refused = refusal(bytes(wat2wasm("(component)")))
    assert refused.reason is Reason.COMPONENT
    assert "component" in refused.message


def test_a_later_version_is_refused() -> None:
    assert refusal(b"\0asm\2\0\0\0").reason is Reason.NOT_WASM


def test_a_module_over_the_size_limit_is_refused() -> None:
    assert refusal(HEADER + bytes(wasm.MAX_MODULE_BYTES)).reason is Reason.TOO_LARGE


def test_a_start_section_is_refused_with_the_way_out() -> None:
    refused = refusal(build(f"(func $f) (start $f) {EXECUTE}"))
    assert refused.reason is Reason.START_SECTION
    assert "_initialize" in refused.message


@pytest.mark.parametrize(
    "source",
    [
        '"extism:host/env" "http_request"',
        '"extism:host/env" "http_status_code"',
        '"extism:host/user" "pawl_call"',
        '"env" "abort"',
        '"main" "execute_task"',
        '"pawl" "other"',
        '"wasi_unstable" "fd_write"',
    ],
)
def test_an_import_outside_the_list_is_refused_by_name(source: str) -> None:
    refused = refusal(build(f"(import {source} (func (param i64) (result i64))) {EXECUTE}"))
    assert refused.reason is Reason.IMPORT_REFUSED
    assert "::".join(source.replace('"', "").split()) in refused.message


def test_every_refused_import_is_named_up_to_a_bound() -> None:
    imports = "".join(f'(import "env" "f{i}" (func))' for i in range(20))
    refused = refusal(build(imports + EXECUTE))
    assert "env::f0, env::f1" in refused.message
    assert "and 12 more" in refused.message


@pytest.mark.parametrize("what", ["(memory 1)", "(table 1 funcref)", "(global i32)"])
def test_only_functions_may_be_imported(what: str) -> None:
    refused = refusal(build(f'(import "extism:host/env" "x" {what}) {EXECUTE}'))
    assert refused.reason is Reason.IMPORT_REFUSED
    assert "extism:host/env::x" in refused.message


def test_an_import_of_the_wrong_type_is_refused_with_both_types() -> None:
    refused = refusal(build(f'(import "pawl" "call" (func (param i32) (result i32))) {EXECUTE}'))
    assert "(i32) -> (i32)" in refused.message
    assert "(i64) -> (i64)" in refused.message


def test_every_allowed_import_is_taken() -> None:
    def text(kind: FunctionType) -> str:
        return f"(func (param {' '.join(kind.parameters)}) (result {' '.join(kind.results)}))"

    imports = "".join(f'(import "{s}" "{n}" {text(kind)})' for (s, n), kind in wasm.ALLOWED_IMPORTS.items())
    module = wasm.validate(build(imports + EXECUTE))
    assert "pawl::call" in module.imports
    assert len(module.imports) == len(wasm.ALLOWED_IMPORTS)


def test_wasi_is_taken_and_told() -> None:
    text = f'(import "wasi_snapshot_preview1" "sched_yield" (func (result i32))) {EXECUTE}'
    assert wasm.validate(build(text)).wasi


@pytest.mark.parametrize(
    ("memory", "words"),
    [
        ("(memory 1 2 shared)", "shared"),
        ("(memory i64 1)", "64-bit"),
        ("(memory 1) (memory 1)", "2 memories"),
        (f"(memory {wasm.MAX_MEMORY_PAGES + 1})", "at most"),
    ],
)
def test_memories_out_of_bounds_are_refused(memory: str, words: str) -> None:
    refused = refusal(build(f"{memory} {EXECUTE}"))
    assert refused.reason is Reason.MEMORY_REFUSED
    assert words in refused.message


def test_the_initial_memory_is_told() -> None:
    assert wasm.validate(build(f"(memory 17) {EXECUTE}")).memory_pages == 17


@pytest.mark.parametrize("table", ["(table 100001 funcref)", "(table 60000 funcref) (table 60000 funcref)"])
def test_large_tables_are_refused(table: str) -> None:
    assert refusal(build(f"{table} {EXECUTE}")).reason is Reason.TABLE_REFUSED


def test_many_tables_are_refused() -> None:
    assert refusal(build("(table 0 funcref)" * 17 + EXECUTE)).reason is Reason.TABLE_REFUSED


def test_a_function_that_would_choke_the_compiler_is_refused_by_its_locals() -> None:
    refused = refusal(build(f"(func (local {'i32 ' * 2001})) {EXECUTE}"))
    assert refused.reason is Reason.FUNCTION_TOO_LARGE
    assert "function 0" in refused.message


def test_locals_that_overflow_a_counter_are_refused() -> None:
    types = section(1, b"\1\x60\0\0")
    groups = b"\2" + leb(2**32 - 1) + b"\x7f" + leb(2**32 - 1) + b"\x7f\x0b"
    module = HEADER + types + section(3, b"\1\0") + section(10, b"\1" + leb(len(groups)) + groups)
    assert refusal(module).reason is Reason.FUNCTION_TOO_LARGE


def test_a_function_that_would_choke_the_compiler_is_refused_by_its_size() -> None:
    assert refusal(build(f"(func {'nop ' * 262144}) {EXECUTE}")).reason is Reason.FUNCTION_TOO_LARGE


def test_debug_information_beyond_the_limit_is_refused_with_the_way_out() -> None:
    module = build(EXECUTE) + section(0, leb(11) + b".debug_info" + bytes(wasm.MAX_CUSTOM_BYTES))
    refused = refusal(module)
    assert refused.reason is Reason.TOO_LARGE
    assert "strip" in refused.message


def test_gc_types_are_refused_as_a_feature() -> None:
    assert refusal(build(f"(type (struct)) {EXECUTE}")).reason is Reason.UNSUPPORTED_FEATURE


def test_sections_out_of_order_are_malformed() -> None:
    assert refusal(HEADER + section(3, b"\0") + section(1, b"\0")).reason is Reason.MALFORMED


def test_the_walk_itself_is_bounded() -> None:
    body = leb(130_000) + b"\0\x7f" * 130_000
    code = leb(9) + 9 * (leb(len(body)) + body)
    module = HEADER + section(1, b"\1\x60\0\0") + section(3, leb(9) + bytes(9)) + section(10, code)
    assert refusal(module).reason is Reason.TOO_LARGE
    assert refusal(HEADER + section(2, leb(1_000_000))).reason is Reason.MALFORMED
    assert refusal(HEADER + section(7, leb(1_000_000))).reason is Reason.MALFORMED


def test_functions_without_bodies_are_malformed() -> None:
    module = HEADER + section(1, b"\1\x60\0\0") + section(3, b"\1\0") + section(7, b"\1\x0cexecute_task\0\0")
    assert refusal(module).reason is Reason.MALFORMED


GOOD = wasm.with_metadata(
    build(f'(import "pawl" "call" (func (param i64) (result i64))) (memory 1) (table 4 funcref) {EXECUTE}'),
    {**METADATA, "entries": [{"name": "execute_task"}]},
)


@given(st.integers(0, len(GOOD)))
def test_a_module_cut_short_is_refused_or_whole(length: int) -> None:
    with suppress(ModuleRefused):
        wasm.validate(GOOD[:length])


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=6))
def test_no_damage_makes_the_validator_fail_in_another_way(damage: list[tuple[int, int]]) -> None:
    module = bytearray(GOOD)
    for at, value in damage:
        module[at] = value
    with suppress(ModuleRefused):
        wasm.validate(bytes(module))


@given(st.binary(max_size=200))
def test_no_bytes_make_the_validator_fail_in_another_way(tail: bytes) -> None:
    with suppress(ModuleRefused):
        wasm.validate(HEADER + tail)


def test_metadata_is_read_back() -> None:
    asked = {
        **METADATA,
        "description": "says hello",
        "entries": [{"name": "execute_task", "output": {"content_type": "application/json", "schema": {}}}],
        "capabilities": {"http": ["api.example.test"]},
        "limits": {"memory_bytes": 1 << 26},
        "build": {"language": "wat"},
    }
    metadata = wasm.validate(wasm.with_metadata(build(EXECUTE), asked)).metadata
    assert metadata is not None
    assert (metadata.name, metadata.version, metadata.description) == ("hello", "1.0.0", "says hello")
    entry = metadata.entry("execute_task")
    assert entry is not None
    assert entry.output_content_type == "application/json"
    assert metadata.capabilities == {"http": ("api.example.test",)}
    assert metadata.limits == {"memory_bytes": 1 << 26}
    assert metadata.entry("other") is None
    assert metadata.source == asked


def test_metadata_replaces_metadata_and_leaves_the_rest_alone() -> None:
    plain = build(EXECUTE)
    once = wasm.with_metadata(plain, METADATA)
    twice = wasm.with_metadata(once, {**METADATA, "version": "2.0.0"})
    assert twice.startswith(plain)
    assert len(twice) == len(once)
    read = wasm.metadata_of(twice)
    assert read is not None
    assert read.version == "2.0.0"


def test_a_module_without_metadata_says_nothing() -> None:
    assert wasm.metadata_of(build(EXECUTE)) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"abi": 2}, "abi"),
        ({"abi": True}, "abi"),
        ({"abi": None}, "abi"),
        ({"name": "a b"}, "name"),
        ({"name": "01890a5d-ac96-774b-bcce-b302099a8057"}, "name"),
        ({"version": ""}, "version"),
        ({"version": 1}, "version"),
        ({"description": 1}, "description"),
        ({"entries": {}}, "entries"),
        ({"entries": [1]}, "entries[0]"),
        ({"entries": [{"name": "a"}, {"name": "a"}]}, "entries[1].name"),
        ({"entries": [{"name": "a", "durable": 1}]}, "entries[0].durable"),
        ({"entries": [{"name": "a", "input": {"content_type": 1}}]}, "entries[0].input.content_type"),
        ({"capabilities": {"http": "x"}}, "capabilities.http"),
        ({"limits": {"memory_bytes": -1}}, "limits.memory_bytes"),
        ({"build": []}, "build"),
    ],
)
def test_a_wrong_field_of_the_metadata_is_named(change: Mapping[str, Any], words: str) -> None:
    with pytest.raises(ModuleRefused) as caught:
        wasm.with_metadata(build(EXECUTE), {**METADATA, **change})
    assert caught.value.reason is Reason.METADATA_INVALID
    assert words in caught.value.message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"abi": NaN}',
        b'{"x": ' + b"[" * 40 + b"]" * 40 + b"}",
        b"\xff",
        b"[" * 60000,
        b'{"abi": 1}' + b" " * 70000,
    ],
)
def test_metadata_that_is_no_object_is_refused(content: bytes) -> None:
    module = build(EXECUTE) + section(0, leb(14) + b"pawl.plugin.v1" + content)
    assert refusal(module).reason is Reason.METADATA_INVALID


def test_two_metadata_sections_are_refused() -> None:
    extra = section(0, leb(14) + b"pawl.plugin.v1" + json.dumps(METADATA).encode())
    assert refusal(build(EXECUTE) + extra + extra).reason is Reason.METADATA_INVALID


def test_a_described_entry_must_be_exported() -> None:
    module = wasm.with_metadata(build(EXECUTE), {**METADATA, "entries": [{"name": "resize"}]})
    assert refusal(module).reason is Reason.ENTRY_MISSING


def test_a_durable_plugin_may_not_use_wasi() -> None:
    text = f'(import "wasi_snapshot_preview1" "sched_yield" (func (result i32))) {EXECUTE}'
    asked = {**METADATA, "entries": [{"name": "execute_task", "durable": True}]}
    refused = refusal(wasm.with_metadata(build(text), asked))
    assert refused.reason is Reason.IMPORT_REFUSED
    assert "durable" in refused.message
