"""Plugins: the same bytes are the same plugin, a version never changes, and what is in use stays."""

import hashlib
from dataclasses import replace

import pytest
import sqlalchemy as sa
from pawl import signatures
from pawl.wasm import with_metadata

from controlplane.domain.errors import AlreadyExists, Exhausted, IllegalTransition, Invalid, NotFound
from controlplane.domain.idempotency import IdempotencyKey, fingerprint
from controlplane.domain.job import Job, JobConfig, JobSpec, JobStatus, WasmSpec
from controlplane.domain.page import PageRequest
from controlplane.domain.plugin import MAX_SIGNATURES, Grant, PluginStatus
from controlplane.engine.context import Engine
from controlplane.engine.jobs import JobDraft, Jobs
from controlplane.engine.lists import Question
from controlplane.engine.namespaces import NamespaceDraft, Namespaces
from controlplane.engine.plugins import MAX_MODULE_BYTES, Plugins
from controlplane.engine.tasks import NewTask, Tasks
from controlplane.store.tables import blob, blob_chunk


def section(number: int, content: bytes) -> bytes:
    size, length = b"", len(content)
    while True:
        size += bytes([length & 0x7F | (0x80 if length > 0x7F else 0)])
        length >>= 7
        if not length:
            return bytes([number]) + size + content


def module(filling: bytes = b"", entry: bytes = b"execute_task") -> bytes:
    """A module with one function () -> () and one export of it."""
    return (
        b"\0asm\x01\0\0\0"
        + section(1, b"\x01\x60\0\0")
        + section(3, b"\x01\0")
        + section(7, b"\x01" + bytes([len(entry)]) + entry + b"\0\0")
        + section(10, b"\x01\x02\0\x0b")
        + (section(0, b"\x01x" + filling) if filling else b"")
    )


@pytest.fixture
def plugins(engine: Engine) -> Plugins:
    """The use cases of plugins."""
    return Plugins(engine)


async def bytes_of(plugins: Plugins, reference: str) -> bytes:
    return b"".join([piece async for piece in plugins.download("default", reference)])


async def blobs(engine: Engine) -> tuple[int, int]:
    """How many blobs and chunks there are."""

    def count(connection: sa.Connection) -> tuple[int, int]:
        blobs, chunks = (
            connection.execute(sa.select(sa.func.count()).select_from(one)).scalar_one() for one in (blob, blob_chunk)
        )
        return blobs, chunks

    return await engine.store.read(count)


async def test_a_plugin_is_found_by_digest_by_name_and_version_and_by_name(plugins: Plugins) -> None:
    first = await plugins.create("default", module(b"1"), "words", "1.0", None)
    second = await plugins.create("default", module(b"2"), "words", "2.0", None)
    assert (first.status, first.entries, first.size) == (PluginStatus.STORED, ("execute_task",), len(module(b"1")))
    for reference in (first.digest, f"sha256:{first.digest}", first.digest.upper(), "words@1.0"):
        assert await plugins.get("default", reference) == first
    assert await plugins.get("default", "words") == second
    with pytest.raises(NotFound, match=r"words@3\.0"):
        await plugins.get("default", "words@3.0")


async def test_a_module_names_itself(plugins: Plugins) -> None:
    described = with_metadata(module(), {"abi": 1, "name": "self", "version": "0.1.0", "entries": []})
    made = await plugins.create("default", described, "", "", None)
    assert (made.name, made.version, made.metadata["name"]) == ("self", "0.1.0", "self")


async def test_the_same_bytes_are_the_same_plugin_and_a_version_never_changes(plugins: Plugins, engine: Engine) -> None:
    made = await plugins.create("default", module(b"1"), "words", "1.0", None)
    assert await plugins.create("default", module(b"1"), "words", "1.0", None) == made
    assert await plugins.create("default", module(b"1"), "", "", None) == made
    with pytest.raises(AlreadyExists, match="never changes"):
        await plugins.create("default", module(b"2"), "words", "1.0", None)
    with pytest.raises(AlreadyExists, match=r"words@1\.0"):
        await plugins.create("default", module(b"1"), "other", "", None)
    assert await blobs(engine) == (1, 1)


async def test_large_modules_come_back_whole(plugins: Plugins, engine: Engine) -> None:
    body = b"\0" + b"\x01" * 200_000 + b"\x0b"  # no locals, then nothing, often
    function = section(0, body)[1:]
    large = (
        b"\0asm\x01\0\0\0"
        + section(1, b"\x01\x60\0\0")
        + section(3, b"\x0c" + b"\0" * 12)
        + section(7, b"\x01\x01a\0\0")
        + section(10, b"\x0c" + function * 12)
    )
    made = await plugins.create("default", large, "", "", None)
    assert await blobs(engine) == (1, 3)
    assert await bytes_of(plugins, made.digest) == large
    assert hashlib.sha256(large).hexdigest() == made.digest


async def test_what_is_no_module_is_refused_with_the_rule(plugins: Plugins) -> None:
    for bad in (b"", b"MZ", module()[:-1]):
        with pytest.raises(Invalid) as refused:
            await plugins.create("default", bad, "a", "1", None)
        assert refused.value.reason == "PLUGIN_REJECTED"
    with pytest.raises(Exhausted):
        await plugins.create("default", b"\0" * (MAX_MODULE_BYTES + 1), "a", "1", None)
    with pytest.raises(Invalid, match="version"):
        await plugins.create("default", module(), "a", "a@b", None)


async def test_one_agent_that_compiles_it_proves_a_module(plugins: Plugins) -> None:
    made = await plugins.create("default", module(), "", "", None)
    rejected = await plugins.report("default", made.digest, agent_id="a", compiles=False, reason="no SIMD")
    assert (rejected.status, rejected.reject_reason) == (PluginStatus.REJECTED, "a: no SIMD")
    ready = await plugins.report("default", made.digest, agent_id="b", compiles=True, reason="")
    assert (ready.status, ready.reject_reason) == (PluginStatus.READY, "")
    assert await plugins.report("default", made.digest, agent_id="a", compiles=False, reason="no SIMD") == ready


async def test_a_rejected_plugin_makes_no_new_jobs_until_it_is_sent_again(plugins: Plugins, jobs: Jobs) -> None:
    made = await plugins.create("default", module(), "words", "1.0", None)
    await plugins.report("default", made.digest, agent_id="a", compiles=False, reason="no SIMD")
    with pytest.raises(IllegalTransition, match="no SIMD"):
        await jobs.create("default", wasm_job("words"), None)
    assert (await plugins.create("default", module(), "", "", None)).status is PluginStatus.STORED
    await jobs.create("default", wasm_job("words"), None)


async def test_bytes_live_as_long_as_somebody_refers_to_them(plugins: Plugins, engine: Engine, tasks: Tasks) -> None:
    namespaces = Namespaces(engine, tasks)
    await namespaces.create(NamespaceDraft("other", ""), None)
    made = await plugins.create("default", module(), "", "", None)
    await plugins.create("other", module(), "", "", None)
    await plugins.delete("default", made.digest, None)
    assert await blobs(engine) == (1, 1)
    await namespaces.delete("other", cascade=False, by="me", etag=None, request=None)
    assert await blobs(engine) == (0, 0)


def wasm_job(plugin: str, entry: str = "execute_task") -> JobDraft:
    return JobDraft("w", JobSpec("", {}, JobConfig(executor="wasm", wasm=WasmSpec(plugin, entry))))


async def test_a_job_keeps_the_digest_whatever_the_name_means_later(plugins: Plugins, jobs: Jobs) -> None:
    first = await plugins.create("default", module(b"1"), "words", "1.0", None)
    made = await jobs.create("default", wasm_job("words"), None)
    assert made.spec.config.wasm == WasmSpec(first.digest)
    second = await plugins.create("default", module(b"2"), "words", "2.0", None)
    assert (await jobs.get("default", "w")).spec == made.spec
    changed = await jobs.update("default", "w", lambda _: wasm_job("words"), etag=None, request=None)
    assert (changed.revision, changed.spec.config.wasm) == (2, WasmSpec(second.digest))
    with pytest.raises(Invalid, match="execute_task"):
        await jobs.update("default", "w", lambda _: wasm_job("words", "nothing"), etag=None, request=None)


async def test_a_plugin_in_use_stays(plugins: Plugins, jobs: Jobs, tasks: Tasks, engine: Engine) -> None:
    made = await plugins.create("default", module(), "words", "1.0", None)
    job = await jobs.create("default", wasm_job("words"), None)
    with pytest.raises(IllegalTransition, match="enabled jobs"):
        await plugins.delete("default", "words", None)
    await engine.store.write(tasks.insert_many, [NewTask("default", "w")])
    await jobs.set_status("default", "w", JobStatus.DISABLED, None)
    with pytest.raises(IllegalTransition, match="unfinished tasks"):
        await plugins.delete("default", "words", None)
    await jobs.delete("default", "w", cascade=True, by="me", etag=None, request=None)
    await plugins.delete("default", "words", None)
    assert job.spec.config.wasm == WasmSpec(made.digest)


async def test_a_job_whose_plugin_is_gone_can_still_be_changed(plugins: Plugins, jobs: Jobs) -> None:
    await plugins.create("default", module(), "words", "1.0", None)
    await jobs.create("default", replace(wasm_job("words"), status=JobStatus.DISABLED), None)
    await plugins.delete("default", "words", None)

    def change(before: Job) -> JobDraft:
        return JobDraft(before.name, replace(before.spec, description="other"))

    assert (await jobs.update("default", "w", change, etag=None, request=None)).spec.description == "other"


async def test_a_repeated_upload_is_one_plugin(plugins: Plugins) -> None:
    key = IdempotencyKey("default", "pawl.v1.PluginService/CreatePlugin", "r", fingerprint(b"f"))
    made = await plugins.create("default", module(), "words", "1.0", key)
    assert await plugins.create("default", module(), "words", "1.0", key) == made
    _, found = await plugins.list(Question("default", {"version": {"eq": "1.0"}}, ["name"], PageRequest(1, 20)))
    assert found == [made]


# Trust

KEY = signatures.new_private_key()


async def signed(plugins: Plugins, digest: str, private: bytes = KEY) -> list[str]:
    seal = signatures.sign(private, digest)
    plugin = await plugins.sign("default", digest, signatures.public_key_of(private), seal, None)
    return [one.key_id for one in plugin.signatures]


async def test_a_grant_is_kept_and_replaced_and_taken_away(plugins: Plugins) -> None:
    made = await plugins.create("default", module(), "words", "1.0", None)
    assert made.grant is None
    await plugins.grant("default", "words", Grant(http=("api.example.com",), secrets=("KEY",)), "ada", None)
    found = await plugins.get("default", made.digest)
    assert found.grant is not None
    assert (found.grant.http, found.grant.secrets, found.grant.granted_by) == (("api.example.com",), ("KEY",), "ada")
    await plugins.grant("default", "words", Grant(http_private=("10.0.0.1:80",)), "bob", None)
    found = await plugins.get("default", made.digest)
    assert found.grant is not None
    assert (found.grant.http, found.grant.http_private, found.grant.granted_by) == ((), ("10.0.0.1:80",), "bob")
    await plugins.revoke("default", "words", None)
    assert (await plugins.get("default", made.digest)).grant is None


async def test_the_same_grant_again_stays_with_who_gave_it_first(plugins: Plugins) -> None:
    await plugins.create("default", module(), "words", "1.0", None)
    first = await plugins.grant("default", "words", Grant(secrets=("KEY",)), "ada", None)
    assert await plugins.grant("default", "words", Grant(secrets=("KEY",)), "bob", None) == first


async def test_a_new_version_has_no_grant_and_no_signature(plugins: Plugins) -> None:
    first = await plugins.create("default", module(b"1"), "words", "1.0", None)
    await plugins.grant("default", "words", Grant(secrets=("KEY",)), "ada", None)
    await signed(plugins, first.digest)
    second = await plugins.create("default", module(b"2"), "words", "2.0", None)
    found = await plugins.get("default", second.digest)
    assert (found.grant, found.signatures) == (None, ())


async def test_sending_the_bytes_again_keeps_the_grant(plugins: Plugins) -> None:
    await plugins.create("default", module(), "words", "1.0", None)
    await plugins.grant("default", "words", Grant(secrets=("KEY",)), "ada", None)
    again = await plugins.create("default", module(), "words", "1.0", None)
    assert again.grant is not None


async def test_a_plugin_that_is_deleted_and_sent_again_is_granted_nothing(plugins: Plugins) -> None:
    made = await plugins.create("default", module(), "words", "1.0", None)
    await plugins.grant("default", "words", Grant(secrets=("KEY",)), "ada", None)
    await signed(plugins, made.digest)
    await plugins.delete("default", "words", None)
    again = await plugins.create("default", module(), "words", "1.0", None)
    assert (again.grant, again.signatures) == (None, ())


@pytest.mark.parametrize(
    ("grant", "field"),
    [
        (Grant(), "http"),
        (Grant(http=("https://api.example.com/",)), "http[0]"),
        (Grant(http=("*",)), "http[0]"),
        (Grant(http=("a.example.com", "*.com")), "http[1]"),
        (Grant(http_private=("host:99999",)), "http_private[0]"),
        (Grant(secrets=("KEY", "KEY")), "secrets[1]"),
        (Grant(secrets=("../KEY",)), "secrets[0]"),
        (Grant(http=tuple(f"h{n}.example.com" for n in range(101))), "http"),
    ],
)
async def test_a_grant_that_cannot_be_meant_names_the_field(plugins: Plugins, grant: Grant, field: str) -> None:
    await plugins.create("default", module(), "words", "1.0", None)
    with pytest.raises(Invalid) as caught:
        await plugins.grant("default", "words", grant, "ada", None)
    assert field in [one.field for one in caught.value.violations]
    assert (await plugins.get("default", "words")).grant is None


async def test_a_signature_is_kept_once_for_each_key(plugins: Plugins) -> None:
    made = await plugins.create("default", module(), "words", "1.0", None)
    other = signatures.new_private_key()
    mine, theirs = (signatures.key_id(signatures.public_key_of(one)) for one in (KEY, other))
    assert await signed(plugins, made.digest) == [mine]
    assert await signed(plugins, made.digest) == [mine]
    assert await signed(plugins, made.digest, other) == [mine, theirs]


async def test_a_signature_of_other_bytes_is_refused(plugins: Plugins) -> None:
    made = await plugins.create("default", module(b"1"), "words", "1.0", None)
    for seal in (signatures.sign(KEY, "0" * 64), b"", b"x" * 64):
        with pytest.raises(Invalid) as caught:
            await plugins.sign("default", "words", signatures.public_key_of(KEY), seal, None)
        assert [one.field for one in caught.value.violations] == ["signature"]
    with pytest.raises(Invalid) as caught:
        await plugins.sign("default", "words", "ed25519:AAAA", signatures.sign(KEY, made.digest), None)
    assert [one.field for one in caught.value.violations] == ["public_key"]
    assert (await plugins.get("default", "words")).signatures == ()


async def test_signatures_have_a_bound(plugins: Plugins) -> None:
    made = await plugins.create("default", module(), "words", "1.0", None)
    for _ in range(MAX_SIGNATURES):
        await signed(plugins, made.digest, signatures.new_private_key())
    with pytest.raises(Exhausted):
        await signed(plugins, made.digest)
    with pytest.raises(NotFound):
        await signed(plugins, "0" * 64)
