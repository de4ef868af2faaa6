"""Specs of job revisions, kept in memory: they never change, and every placement needs one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from controlplane.domain.job import Job, JobSpec
from controlplane.domain.task import Task
from controlplane.store import Connection, jobs

KEEP = 4096


class Revisions:
    """The newest used specs by (job, revision). Used from several threads: each operation is one dictionary step."""

    def __init__(self) -> None:
        self._specs: OrderedDict[tuple[str, int], JobSpec] = OrderedDict()

    def load(self, connection: Connection, pairs: Iterable[tuple[str, int]]) -> None:
        """Read those that are not here yet."""
        missing = {pair for pair in pairs if not self._use(pair)}
        if missing:
            self._specs.update(jobs.revisions(connection, missing))
            while len(self._specs) > KEEP:
                self._specs.popitem(last=False)

    def keep(self, job: Job) -> None:
        """Its present spec, which was read already."""
        self._specs[job.id, job.revision] = job.spec
        while len(self._specs) > KEEP:
            self._specs.popitem(last=False)

    def _use(self, pair: tuple[str, int]) -> bool:
        """Whether it is here; then it is the newest used, so that no other thread's load pushes it out meanwhile."""
        try:
            self._specs.move_to_end(pair)
        except KeyError:
            return False
        return True

    def spec(self, task: Task) -> JobSpec:
        """The spec of a task's revision; `load` came before in the same transaction."""
        return self._specs[task.job_id, task.job_revision]
