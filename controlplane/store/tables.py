"""The tables, once, for both databases. What differs between the two stands in `dialect.py`.

Rules of the house: instants are BIGINT microseconds UTC; ids are 16 bytes; statuses are the numbers of the contract;
maps are JSON text that nothing searches; every invariant that one row can state is a CHECK. On PostgreSQL the tables
that grow are partitioned by the month in the owner's UUIDv7, so a row's partition follows from its id and every hot
statement carries it. There are no foreign keys: parents are only deleted softly or together with their children, and
a check per row would cost more than the whole statement.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from controlplane.store.dialect import Id

metadata = MetaData()

OPEN_STATUSES = "(2, 5, 10)"
FINAL_STATUSES = "(40, 90, 99, 100)"

namespace = Table(
    "sched_namespace",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("description", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("after_task", Id),
    Column("max_running", Integer, nullable=False, server_default="0"),
)

job = Table(
    "sched_job",
    metadata,
    Column("id", Id, primary_key=True),
    Column("namespace_id", String(63), nullable=False),
    Column("name", String(63), nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    # What its present revision says: it holds for tasks of all revisions.
    Column("max_running", Integer, nullable=False, server_default="0"),
    CheckConstraint("status IN (1, 2)", name="ck_sched_job_status"),
)
# Deletes are soft and free the name, so only living jobs compete for it.
Index(
    "uq_sched_job_name",
    job.c.namespace_id,
    job.c.name,
    unique=True,
    sqlite_where=text("deleted_at IS NULL"),
    postgresql_where=text("deleted_at IS NULL"),
)
Index("idx_sched_job_created_at", job.c.namespace_id, job.c.created_at)
Index(
    "idx_sched_job_deleted_at",
    job.c.deleted_at,
    sqlite_where=text("deleted_at IS NOT NULL"),
    postgresql_where=text("deleted_at IS NOT NULL"),
)

job_revision = Table(
    "sched_job_revision",
    metadata,
    Column("job_id", Id, primary_key=True),
    Column("revision", Integer, primary_key=True),
    Column("requirement_id", Integer, nullable=False),
    Column("spec", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
Index("idx_sched_job_revision_requirement_id", job_revision.c.requirement_id)  # asked before a demand goes

requirement = Table(
    "sched_requirement",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("namespace_id", String(63), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("spec", Text, nullable=False),
    # When it was last asked for, to a day. 0: by a server of an earlier release, which does not say.
    Column("touched_at", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("namespace_id", "digest", name="uq_sched_requirement_digest"),
)
Index("idx_sched_requirement_touched_at", requirement.c.touched_at)

task = Table(
    "sched_task",
    metadata,
    Column("id", Id, primary_key=True),
    Column("namespace_id", String(63), nullable=False),
    Column("job_id", Id, nullable=False),
    Column("job_revision", Integer, nullable=False),
    Column("requirement_id", Integer, nullable=False),
    Column("schedule_id", Id),
    Column("status", SmallInteger, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("scheduled_at", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("max_retries", Integer, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("token", Integer, nullable=False),
    Column("result_token", Integer, nullable=False),
    Column("stalled", Integer, nullable=False),
    Column("cause", SmallInteger, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("dead_reason", SmallInteger, nullable=False),
    Column("agent_id", String(63)),
    Column("instance_id", Id),
    Column("wake_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("version", Integer, nullable=False),
    # How long a wait for an agent may last and how long all of it, microseconds, and when the latter is over.
    Column("start_within", BigInteger),
    Column("end_within", BigInteger),
    Column("end_by", BigInteger),
    # A paused attempt that its agent keeps: its status before, and since when.
    Column("paused_from", SmallInteger),
    Column("paused_at", BigInteger),
    # The group that it was made with, and which part of the work it is.
    Column("group_id", Id),
    Column("shard_index", Integer),
    Column("shard_total", Integer),
    CheckConstraint(f"(status IN {FINAL_STATUSES}) = (finished_at IS NOT NULL)", name="ck_sched_task_finished"),
    CheckConstraint("(status = 35) = (wake_at IS NOT NULL)", name="ck_sched_task_wake"),
    CheckConstraint("status NOT IN (5, 10) OR instance_id IS NOT NULL", name="ck_sched_task_placed"),
    CheckConstraint("result_token <= token", name="ck_sched_task_token"),
    postgresql_partition_by="RANGE (id)",
)
Index("idx_sched_task_status", task.c.namespace_id, task.c.status, task.c.id)
Index("idx_sched_task_scheduled_at", task.c.namespace_id, task.c.scheduled_at)
# The namespace is in it so that a job's tasks are counted without looking a single one up; the status, so that those of
# one job and one status lie together.
Index("idx_sched_task_job_status", task.c.job_id, task.c.namespace_id, task.c.status, task.c.id)
Index(
    "idx_sched_task_schedule_id",
    task.c.schedule_id,
    task.c.namespace_id,
    task.c.id,
    sqlite_where=text("schedule_id IS NOT NULL"),
    postgresql_where=text("schedule_id IS NOT NULL"),
)
# The status is in it so that a group's members are counted without looking one up.
Index(
    "idx_sched_task_group_id",
    task.c.group_id,
    task.c.namespace_id,
    task.c.id,
    task.c.status,
    sqlite_where=text("group_id IS NOT NULL"),
    postgresql_where=text("group_id IS NOT NULL"),
)
# What the sweep for unfinished cancellations reads: a handful of rows at any time.
Index(
    "idx_sched_task_cancelling",
    task.c.agent_id,
    sqlite_where=text("cancel_requested AND status IN (5, 10)"),
    postgresql_where=text("cancel_requested AND status IN (5, 10)"),
)
# What has to have ended by a time, and has not.
Index(
    "idx_sched_task_end_by",
    task.c.end_by,
    sqlite_where=text("end_by IS NOT NULL AND finished_at IS NULL"),
    postgresql_where=text("end_by IS NOT NULL AND finished_at IS NULL"),
)
# What the sweep for pauses reads that an agent has not been told of.
Index(
    "idx_sched_task_paused",
    task.c.agent_id,
    sqlite_where=text("paused_from IS NOT NULL"),
    postgresql_where=text("paused_from IS NOT NULL"),
)

task_data = Table(
    "sched_task_data",
    metadata,
    Column("task_id", Id, primary_key=True),
    Column("parameters", LargeBinary),
    Column("parameters_type", String(255)),
    Column("environment", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("timeout", Double),
    Column("cancel_reason", Text, nullable=False),
    Column("traceparent", String(64), nullable=False),
    Column("tracestate", Text, nullable=False, server_default=""),
    Column("baggage", Text, nullable=False, server_default=""),
    Column("labels", Text, nullable=False, server_default="{}"),
    postgresql_partition_by="RANGE (task_id)",
)

task_tag = Table(
    "sched_task_tag",
    metadata,
    Column("task_id", Id, primary_key=True),
    Column("key", String(63), primary_key=True),
    Column("value", String(255), nullable=False),
    Column("namespace_id", String(63), nullable=False),
    postgresql_partition_by="RANGE (task_id)",
)
Index("idx_sched_task_tag_value", task_tag.c.namespace_id, task_tag.c.key, task_tag.c.value, task_tag.c.task_id)

task_transition = Table(
    "sched_task_transition",
    metadata,
    Column("task_id", Id, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("transition", String(32), nullable=False),
    Column("from_status", SmallInteger, nullable=False),
    Column("to_status", SmallInteger, nullable=False),
    Column("subject", String(255), nullable=False),
    Column("reason", Text, nullable=False),
    postgresql_partition_by="RANGE (task_id)",
)

# Tasks that one call made together, and how those that have ended did. Its ids rise with those of its members.
task_group = Table(
    "sched_task_group",
    metadata,
    Column("id", Id, primary_key=True),
    Column("namespace_id", String(63), nullable=False),
    Column("job_id", Id, nullable=False),
    Column("job_revision", Integer, nullable=False),
    Column("mode", SmallInteger, nullable=False),
    Column("policy", SmallInteger, nullable=False),
    Column("policy_count", Integer, nullable=False),
    Column("cancel_rest", Boolean, nullable=False),
    Column("labels", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("total", Integer, nullable=False),
    Column("succeeded", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("cancelled", Integer, nullable=False),
    Column("skipped", Integer, nullable=False),
    Column("closing", Boolean, nullable=False),
    Column("closed_by", String(255), nullable=False),
    Column("closed_why", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("decided_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("version", Integer, nullable=False),
    CheckConstraint("status IN (10, 90, 99, 100)", name="ck_sched_task_group_status"),
    CheckConstraint("(status = 10) = (decided_at IS NULL)", name="ck_sched_task_group_decided"),
    CheckConstraint(
        "(succeeded + failed + cancelled + skipped = total) = (finished_at IS NOT NULL)",
        name="ck_sched_task_group_finished",
    ),
    CheckConstraint(
        "succeeded >= 0 AND failed >= 0 AND cancelled >= 0 AND skipped >= 0"
        " AND succeeded + failed + cancelled + skipped <= total",
        name="ck_sched_task_group_tally",
    ),
)
Index("idx_sched_task_group_status", task_group.c.namespace_id, task_group.c.status, task_group.c.id)
Index(
    "idx_sched_task_group_job_status",
    task_group.c.job_id,
    task_group.c.namespace_id,
    task_group.c.status,
    task_group.c.id,
)
# What the loop that cancels the rest of a group reads: a handful of rows at any time.
Index(
    "idx_sched_task_group_closing",
    task_group.c.id,
    sqlite_where=text("closing"),
    postgresql_where=text("closing"),
)

task_instance = Table(
    "sched_task_instance",
    metadata,
    Column("task_id", Id, primary_key=True),
    Column("token", Integer, primary_key=True),
    Column("id", Id, nullable=False),
    Column("namespace_id", String(63), nullable=False),
    Column("job_id", Id, nullable=False),
    Column("agent_id", String(63), nullable=False),
    Column("agent_namespace_id", String(63), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("cause", SmallInteger, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("status", SmallInteger, nullable=False),
    # The terms of what is open: nobody asks for them once it has ended, and they go.
    Column("lease", BigInteger),
    Column("timeout", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("exit_code", Integer),
    Column("signal", SmallInteger),
    Column("late_result", Boolean, nullable=False),
    Column("error_code", String(64)),
    Column("error_message", Text),
    Column("error_retryable", Boolean),
    Column("metrics", Text),
    Column("output_size", BigInteger, nullable=False),
    Column("output_truncated", Boolean, nullable=False),
    Column("output", LargeBinary),
    Column("output_type", String(255)),
    Column("output_digest", String(64)),
    Column("progress", Double),
    Column("progress_message", Text),
    # Terms as well: microseconds between TERM and KILL, and for which it stood still.
    Column("grace", BigInteger, server_default="0"),
    Column("paused", BigInteger, server_default="0"),
    CheckConstraint("(status IN (5, 10)) = (finished_at IS NULL)", name="ck_sched_task_instance_finished"),
    CheckConstraint(
        "status NOT IN (5, 10) OR (lease + timeout + grace + paused) IS NOT NULL", name="ck_sched_task_instance_terms"
    ),
    CheckConstraint("token >= 1", name="ck_sched_task_instance_token"),
    postgresql_partition_by="RANGE (task_id)",
)
# On PostgreSQL an id alone is looked up by each status: an index of its own would be a twentieth of all bytes of a task
# (`dialect.has_index_of_ids`). And the index of the key has the name of the second one, which SQLite gives to no key.
Index("idx_sched_task_instance_id", task_instance.c.id).ddl_if(dialect="sqlite")
Index("idx_sched_task_instance_task_id", task_instance.c.task_id).ddl_if(dialect="sqlite")
Index("idx_sched_task_instance_status", task_instance.c.namespace_id, task_instance.c.status, task_instance.c.id)
Index(
    "idx_sched_task_instance_job_status",
    task_instance.c.job_id,
    task_instance.c.namespace_id,
    task_instance.c.status,
    task_instance.c.id,
)
# What the reaper and a reconnecting agent read: only placements that are open.
Index(
    "idx_sched_task_instance_open",
    task_instance.c.agent_namespace_id,
    task_instance.c.agent_id,
    sqlite_where=text("status IN (5, 10)"),
    postgresql_where=text("status IN (5, 10)"),
)

# What waits for an agent: narrow, short-lived rows that the claim deletes.
ready = Table(
    "sched_ready",
    metadata,
    Column("task_id", Id, primary_key=True),
    Column("requirement_id", Integer, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("ready_at", BigInteger, nullable=False),
    Column("start_by", BigInteger),
)
Index(
    "idx_sched_ready_start_by",
    ready.c.start_by,
    sqlite_where=text("start_by IS NOT NULL"),
    postgresql_where=text("start_by IS NOT NULL"),
)
Index("idx_sched_ready_claim", ready.c.requirement_id, ready.c.priority.desc(), ready.c.ready_at, ready.c.task_id)

# What becomes ready when its time comes: scheduled tasks and retries.
timer = Table(
    "sched_timer",
    metadata,
    Column("task_id", Id, primary_key=True),
    Column("due_at", BigInteger, nullable=False),
)
Index("idx_sched_timer_due_at", timer.c.due_at)

schedule = Table(
    "sched_schedule",
    metadata,
    Column("id", Id, primary_key=True),
    Column("namespace_id", String(63), nullable=False),
    Column("name", String(63), nullable=False),
    Column("job_id", Id, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("timezone", String(63), nullable=False),
    Column("spec", Text, nullable=False),
    Column("parameters", LargeBinary),
    Column("parameters_type", String(255)),
    Column("next_fire_at", BigInteger),
    Column("last_fire_at", BigInteger),
    Column("fire_count", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    CheckConstraint("status IN (1, 2, 3, 4)", name="ck_sched_schedule_status"),
    CheckConstraint("status = 1 OR next_fire_at IS NULL", name="ck_sched_schedule_next_fire"),
)
Index(
    "uq_sched_schedule_name",
    schedule.c.namespace_id,
    schedule.c.name,
    unique=True,
    sqlite_where=text("deleted_at IS NULL"),
    postgresql_where=text("deleted_at IS NULL"),
)
Index("idx_sched_schedule_job_id", schedule.c.job_id)
Index(
    "idx_sched_schedule_next_fire_at",
    schedule.c.next_fire_at,
    sqlite_where=text("next_fire_at IS NOT NULL"),
    postgresql_where=text("next_fire_at IS NOT NULL"),
)
Index(
    "idx_sched_schedule_deleted_at",
    schedule.c.deleted_at,
    sqlite_where=text("deleted_at IS NOT NULL"),
    postgresql_where=text("deleted_at IS NOT NULL"),
)

# One row per slot that was dealt with: the primary key is what makes a fire happen once.
fire = Table(
    "sched_fire",
    metadata,
    Column("schedule_id", Id, primary_key=True),
    Column("fire_time", BigInteger, primary_key=True),
    Column("task_id", Id),
    Column("reason", Text),
    Column("handled_at", BigInteger, nullable=False),
    CheckConstraint("(task_id IS NULL) <> (reason IS NULL)", name="ck_sched_fire_outcome"),
)
Index("idx_sched_fire_handled_at", fire.c.handled_at)

agent = Table(
    "sched_agent",
    metadata,
    Column("namespace_id", String(63), primary_key=True),
    Column("id", String(63), primary_key=True),
    Column("state_id", String(64), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("drained", Boolean, nullable=False),
    Column("labels", Text, nullable=False),
    Column("declared_labels", Text, nullable=False),
    Column("serves", Text, nullable=False),
    Column("executors", Text, nullable=False),
    Column("slots", Integer, nullable=False),
    Column("hostname", String(255), nullable=False),
    Column("agent_version", String(63), nullable=False),
    Column("protocol_version", Integer, nullable=False),
    Column("session_id", String(64), nullable=False),
    Column("replica_id", String(64), nullable=False),
    Column("metrics", Text, nullable=False),
    Column("connected_at", BigInteger, nullable=False),
    Column("last_beat_at", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("resources", Text, nullable=False, server_default="{}"),
    CheckConstraint("status IN (1, 2, 3, 4, 5)", name="ck_sched_agent_status"),
)
Index("idx_sched_agent_status", agent.c.status)

plugin = Table(
    "sched_plugin",
    metadata,
    Column("namespace_id", String(63), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("name", String(63)),
    Column("plugin_version", String(63)),
    Column("status", SmallInteger, nullable=False),
    Column("reject_reason", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("entries", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("granted", Text, nullable=False, server_default=""),
    Column("signatures", Text, nullable=False, server_default="[]"),
    CheckConstraint("status IN (1, 2, 3)", name="ck_sched_plugin_status"),
    UniqueConstraint("namespace_id", "name", "plugin_version", name="uq_sched_plugin_name"),
)

# Bytes by digest, counted by those who refer to them. `content` names the chunks, so that bytes that came before their
# digest could be checked need not be moved once it is.
blob = Table(
    "sched_blob",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("content", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("holders", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
# Each of 1 MiB, but the last one of a content.
blob_chunk = Table(
    "sched_blob_chunk",
    metadata,
    Column("content", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

# Outputs that agents put before the result that names them. A complete one is a holder of its blob; the result takes
# that over. What no result has asked for within a day goes.
output_upload = Table(
    "sched_output_upload",
    metadata,
    Column("task_id", Id, primary_key=True),
    Column("token", Integer, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("content", String(64), nullable=False),
    Column("stored", BigInteger, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("touched_at", BigInteger, nullable=False),
    CheckConstraint("stored <= size", name="ck_sched_output_upload_stored"),
)
Index("idx_sched_output_upload_touched_at", output_upload.c.touched_at)

# Files that placements made, each a holder of its blob once complete. Those that their result has named are kept with
# the task; what no result has asked for within a day goes.
artifact = Table(
    "sched_artifact",
    metadata,
    Column("task_id", Id, primary_key=True),
    Column("token", Integer, primary_key=True),
    Column("name", String(512), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("content_type", String(255), nullable=False),
    Column("content", String(64), nullable=False),
    Column("stored", BigInteger, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("named", Boolean, nullable=False),
    Column("touched_at", BigInteger, nullable=False),
    CheckConstraint("stored <= size", name="ck_sched_artifact_stored"),
    CheckConstraint("complete OR NOT named", name="ck_sched_artifact_named"),
)
Index(
    "idx_sched_artifact_touched_at",
    artifact.c.touched_at,
    sqlite_where=text("NOT named"),
    postgresql_where=text("NOT named"),
)

# Request ids that were used, and what for, each by 16 bytes of a digest (`controlplane.domain.idempotency`). Fixed
# widths first: with a short namespace no byte of a row is lost to alignment on PostgreSQL.
request = Table(
    "sched_request",
    metadata,
    Column("digest", Id, primary_key=True),
    Column("content", Id, nullable=False),
    Column("resource_id", Id),
    Column("expires_at", BigInteger, nullable=False),
    Column("namespace_id", String(63), nullable=False),
    # Of a resource that has no id, but a name.
    Column("resource_name", String(127)),
    Column("refusal", Text),
)
Index("idx_sched_request_expires_at", request.c.expires_at)

# Where servers keep them that do not know the table above and work beside one that does. On PostgreSQL what they write
# is written there as well, and what is there already they may not do again. Goes once nobody does.
idempotency = Table(
    "sched_idempotency",
    metadata,
    Column("namespace_id", String(63), primary_key=True),
    Column("method", String(127), primary_key=True),
    Column("request_id", String(128), primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("resource_id", String(127), nullable=False),
    Column("refusal", Text),
    Column("expires_at", BigInteger, nullable=False),
)
Index("idx_sched_idempotency_expires_at", idempotency.c.expires_at)

# Who may call: a digest of each secret and what it is good for. Rows are few and stay: history names keys by their ids.
key = Table(
    "sched_key",
    metadata,
    Column("id", Id, primary_key=True),
    Column("prefix", String(12), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("name", String(63), nullable=False),
    Column("description", Text, nullable=False),
    Column("roles", SmallInteger, nullable=False),
    Column("everywhere", Boolean, nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("last_used_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("revoked_by", String(255)),
    Column("version", Integer, nullable=False),
    CheckConstraint("roles BETWEEN 1 AND 31", name="ck_sched_key_roles"),
    CheckConstraint("(revoked_at IS NULL) = (revoked_by IS NULL)", name="ck_sched_key_revoked"),
    UniqueConstraint("prefix", name="uq_sched_key_prefix"),
)
# A revoked key frees its name.
Index(
    "uq_sched_key_name",
    key.c.name,
    unique=True,
    sqlite_where=text("revoked_at IS NULL"),
    postgresql_where=text("revoked_at IS NULL"),
)

# Where a key that is not for everywhere is good. Rows that go make it good for less, never for more.
key_namespace = Table(
    "sched_key_namespace",
    metadata,
    Column("key_id", Id, primary_key=True),
    Column("namespace_id", String(63), primary_key=True),
    Column("position", SmallInteger, nullable=False),
)
Index("idx_sched_key_namespace_namespace_id", key_namespace.c.namespace_id)

# Who runs a loop: the token grows with every new holder.
loop_lease = Table(
    "sched_loop_lease",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("holder", String(64), nullable=False),
    Column("token", Integer, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)

# One row per time that the database was put back to an earlier moment: tokens go on above the floor.
restore = Table(
    "sched_restore",
    metadata,
    Column("restored_at", BigInteger, primary_key=True, autoincrement=False),
    Column("token_floor", Integer, nullable=False),
    Column("taken_at", BigInteger),
    CheckConstraint("token_floor >= 1", name="ck_sched_restore_token_floor"),
)

# On SQLite these lie in a second file, so that chatter never waits for tasks nor they for it.
log_metadata = MetaData()

log_chunk = Table(
    "sched_log_chunk",
    log_metadata,
    Column("task_id", Id, primary_key=True),
    Column("token", Integer, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("instance_id", Id, nullable=False),
    Column("lines", LargeBinary, nullable=False),
    postgresql_partition_by="RANGE (task_id)",
)

PARTITIONED = (task, task_data, task_tag, task_transition, task_instance, log_chunk)
