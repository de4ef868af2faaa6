"""One look at what the sweeps of all loops are there to find: where anything is due, asked for by one statement.

Nearly always there is nothing. What each loop would read for itself costs a transaction and some statements, and all of
them together were most of what an idle control plane did. Here stand only instants and whether there is any, each of
them the first entry of an index; a loop that sees something looks for itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from sqlalchemy import Connection

from controlplane.store import dialect


class Lease(Struct, frozen=True):
    """Who has a loop, and until when."""

    holder: str
    expires_at: int


class Glance(Struct, frozen=True):
    """What there was. Instants are microseconds UTC; None where there is no such thing.

    `demands`, `caps` and `restored` change with what the dispatcher has to know: the last demand and, while there are
    few, how many there are (one with a lower number may come later); how many namespaces have a cap, and when one was
    changed; when this database was put back last. `agents`: how many are connected to
    the replica that looked, by their rows, and the sum of those rows' versions.
    """

    slot: int | None  # the next one of any schedule
    timer: int | None
    start_by: int | None  # when a wait for an agent, or the time of what nobody has, is over first
    end_by: int | None
    quiet_since: int | None  # the oldest sign of life of an agent that is taken to live
    closing: bool  # groups whose members are to end with them
    placed: bool  # something is on an agent
    cancelling: bool  # and is to be stopped there
    paused: bool
    waiting: bool  # something waits for an agent
    demands: tuple[int, int]
    caps: tuple[int, int]
    restored: int
    agents: tuple[int, int]
    leases: Mapping[str, Lease]

    @property
    def due(self) -> int | None:
        """When the timers have something to do first."""
        return min((at for at in (self.timer, self.start_by, self.end_by) if at is not None), default=None)


# As text: SQLAlchemy would write a Boolean as `= 1` and a status as a value, and a partial index serves only who spells
# its condition out. No value is sent along, so that PostgreSQL keeps its plan: planning costs it five times as much as
# looking. That a column is beyond the least value leads both to the index that begins with
# it: SQLite would take a larger one, PostgreSQL none.
_LOOK = """
SELECT
  (SELECT next_fire_at FROM sched_schedule WHERE next_fire_at IS NOT NULL ORDER BY next_fire_at LIMIT 1),
  (SELECT due_at FROM sched_timer ORDER BY due_at LIMIT 1),
  (SELECT start_by FROM sched_ready WHERE start_by IS NOT NULL ORDER BY start_by LIMIT 1),
  (SELECT end_by FROM sched_task WHERE end_by IS NOT NULL AND finished_at IS NULL
     AND status NOT IN (5, 10) AND paused_from IS NULL ORDER BY end_by LIMIT 1),
  (SELECT min(last_beat_at) FROM sched_agent WHERE status IN (1, 2, 3)),
  (SELECT 1 FROM sched_task_group WHERE closing LIMIT 1),
  (SELECT 1 FROM sched_task_instance WHERE status IN (5, 10) AND agent_namespace_id >= '' LIMIT 1),
  (SELECT 1 FROM sched_task WHERE cancel_requested AND status IN (5, 10) AND agent_id >= '' LIMIT 1),
  (SELECT 1 FROM sched_task WHERE paused_from IS NOT NULL AND agent_id >= '' LIMIT 1),
  (SELECT 1 FROM sched_ready LIMIT 1),
  (SELECT max(id) FROM sched_requirement),
  (SELECT count(*) FROM (SELECT 1 FROM sched_requirement WHERE id >= 0 LIMIT 100) AS few),
  (SELECT count(*) FROM sched_namespace WHERE max_running > 0 AND id >= ''),
  (SELECT max(updated_at) FROM sched_namespace WHERE id >= ''),
  (SELECT max(restored_at) FROM sched_restore),
  mine.count, mine.versions, lease.name, lease.holder, lease.expires_at
FROM (SELECT count(*) AS count, sum(version) AS versions FROM sched_agent
        WHERE replica_id = '{replica}' AND status IN (1, 2)) AS mine
  LEFT JOIN sched_loop_lease AS lease ON lease.name >= ''
"""


def look(connection: Connection, replica_id: str) -> Glance:
    """What there is now."""
    dialect.by_indexes(connection)
    written = _LOOK.format(replica=replica_id.replace("'", "''"))
    rows = connection.exec_driver_sql(written).all()
    slot, due_at, start_by, end_by, beat, *found = rows[0]
    closing, placed, cancelling, paused, waiting, last, few, capped, changed, restored, mine, versions, *_ = found
    return Glance(
        slot=slot,
        timer=due_at,
        start_by=start_by,
        end_by=end_by,
        quiet_since=beat,
        closing=closing is not None,
        placed=placed is not None,
        cancelling=cancelling is not None,
        paused=paused is not None,
        waiting=waiting is not None,
        demands=(last or 0, few),
        caps=(capped, changed or 0),
        restored=restored or 0,
        agents=(mine, int(versions or 0)),
        leases={name: Lease(holder, until) for *_, name, holder, until in rows if name is not None},
    )
