"""Specs in memory: the newest used stay, and a transaction finds what it has loaded."""

import pytest

from controlplane.domain.job import Job
from controlplane.domain.task import Task
from controlplane.engine import revisions
from controlplane.engine.jobs import JobDraft
from controlplane.engine.revisions import Revisions
from tests.engine.stage import opened


async def test_what_is_in_use_stays_and_the_least_used_goes(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions, "KEEP", 2)
    with opened(migrated_url) as one:
        pairs: list[tuple[str, int]] = []
        made: list[Task] = []
        for name in ("a", "b", "c"):
            pairs.append((await one.job(name, priority=len(pairs)), 1))
            made += await one.create(name)
        kept = Revisions()
        for chosen in (pairs[:2], pairs[:1], pairs[2:]):
            await one.engine.store.read(kept.load, chosen)
        assert [kept.spec(made[at]).config.priority for at in (0, 2)] == [0, 2]
        with pytest.raises(KeyError):
            kept.spec(made[1])


async def test_a_task_runs_by_the_revision_that_it_was_made_with(migrated_url: str) -> None:
    with opened(migrated_url) as one:
        await one.job(max_retries=1)
        [task] = await one.create()

        def change(before: Job) -> JobDraft:
            config = before.spec.config
            changed = type(config)(cmd=config.cmd, max_retries=9, timeout=5.0)
            return JobDraft(before.name, type(before.spec)("", {}, changed))

        await one.jobs.update("default", "hello", change, etag=None, request=None)
        session = await one.connect()
        await one.place()
        [message] = session.outbox
        [placement] = message.placements  # type: ignore[union-attr]  # nothing else was said
        assert (placement.ref.task_id, placement.job_revision, placement.timeout) == (task.id, 1, 3600.0)
