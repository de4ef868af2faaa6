"""What the caps of jobs and namespaces leave, while one transaction places tasks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from controlplane.domain.job import Requirement
from controlplane.store import Connection, caps


class Caps:
    """Counted under the lock that whoever counts keeps until its transaction ends; nothing is asked where no cap is."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._held = False
        self._left: dict[str, int] = {}  # of jobs by id, and of namespaces by name, which is no id

    def count(self, lanes: Iterable[Requirement], namespaces: Collection[str]) -> None:
        """Find out what is left for these lanes; `namespaces` have caps."""
        demands = list(lanes)
        self._count_jobs({one.capped_job: one.namespace_id for one in demands if one.capped_job})
        wanted = {one.namespace_id for one in demands} & set(namespaces)
        if wanted:
            self._hold()
            running = caps.running_of_namespaces(self._connection, wanted)
            for name, most in caps.of_namespaces(self._connection, wanted).items():
                self._left[name] = most - running.get(name, 0)

    def _count_jobs(self, jobs: Mapping[str, str]) -> None:
        if jobs:
            self._hold()
            running = caps.running_of_jobs(self._connection, jobs)
            for job_id, most in caps.of_jobs(self._connection, jobs).items():
                self._left[job_id] = most - running.get(job_id, 0)

    def count_jobs(self, jobs: Mapping[str, str]) -> None:
        """Jobs with caps whose tasks were found in a lane that they share with others; each with its namespace."""
        self._count_jobs({one: space for one, space in jobs.items() if one not in self._left})

    def _hold(self) -> None:
        if not self._held:
            caps.hold(self._connection)
            self._held = True

    def left(self, demand: Requirement, most: int) -> int:
        """How many more of a lane may be placed, at most so many."""
        of_job = self._left.get(demand.capped_job, most) if demand.capped_job else most
        return max(0, min(most, of_job, self._left.get(demand.namespace_id, most)))

    def take(self, demand: Requirement) -> None:
        """One more is placed."""
        for key in (demand.capped_job, demand.namespace_id):
            if key in self._left:
                self._left[key] -= 1

    def take_of_job(self, job_id: str) -> bool:
        """One more of a job that shares its lane; whether there was room."""
        if self._left.get(job_id, 1) <= 0:
            return False
        if job_id in self._left:
            self._left[job_id] -= 1
        return True
