"""What tasks demand of their agents where that is more than their job says: labels of their own, or a key."""

from __future__ import annotations

from controlplane.domain.job import Job, JobConfig, Requirement, demands_more, requirement_of, requirement_of_task
from controlplane.domain.matching import OWN_AGENT, only_on
from controlplane.domain.task import Task
from controlplane.store import Connection, jobs
from controlplane.store.tasks import TaskData


class Demands:
    """The ids of demands, each looked up once in a transaction."""

    def __init__(self, connection: Connection, now: int) -> None:
        self._connection = connection
        self._now = now
        self._ids: dict[tuple[str, str], int] = {}

    def of_new(self, job: Job, data: TaskData) -> int:
        """The demand of a new task of this job."""
        config = job.spec.config
        if not demands_more(config, data.labels):
            return job.requirement_id
        return self._interned(requirement_of_task(job.namespace_id, config, job.id, data.labels, data.tags))

    def of_changed(self, one: Task, before: TaskData, after: TaskData) -> int:
        """The demand of a task whose labels or tags may be others now. One that keeps them keeps its demand."""
        if (before.labels, before.tags) == (after.labels, after.tags):
            return one.requirement_id
        [spec] = jobs.revisions(self._connection, [(one.job_id, one.job_revision)]).values()
        if not demands_more(spec.config, {**before.labels, **after.labels}):
            return one.requirement_id
        demand = requirement_of_task(one.namespace_id, spec.config, one.job_id, after.labels, after.tags)
        present = jobs.requirement_by_id(self._connection, one.requirement_id)
        if (own := present.labels.get(OWN_AGENT)) is not None:
            demand = only_on(demand, own)
        return self._interned(demand)

    def _interned(self, demand: Requirement) -> int:
        key = demand.namespace_id, demand.canonical()
        if key not in self._ids:
            self._ids[key] = jobs.intern_requirement(self._connection, demand, self._now)
        return self._ids[key]


def of_job(connection: Connection, namespace_id: str, config: JobConfig, job_id: str, now: int) -> int:
    """The demand of a job's tasks that have no labels and no key of their own."""
    return jobs.intern_requirement(connection, requirement_of(namespace_id, config, job_id), now)
