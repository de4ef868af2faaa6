CREATE TABLE sched_artifact (
  task_id BLOB NOT NULL,
  token INTEGER NOT NULL,
  name VARCHAR(512) NOT NULL,
  digest VARCHAR(64) NOT NULL,
  size BIGINT NOT NULL,
  content_type VARCHAR(255) NOT NULL,
  content VARCHAR(64) NOT NULL,
  stored BIGINT NOT NULL,
  complete BOOLEAN NOT NULL,
  named BOOLEAN NOT NULL,
  touched_at BIGINT NOT NULL,
  PRIMARY KEY (task_id, token, name),
  CONSTRAINT ck_sched_artifact_stored CHECK (stored <= size),
  CONSTRAINT ck_sched_artifact_named CHECK (complete OR NOT named)
);

CREATE INDEX idx_sched_artifact_touched_at ON sched_artifact (touched_at) WHERE NOT named;

ALTER TABLE sched_task ADD COLUMN start_within BIGINT;
ALTER TABLE sched_task ADD COLUMN end_within BIGINT;
ALTER TABLE sched_task ADD COLUMN end_by BIGINT;
ALTER TABLE sched_task ADD COLUMN paused_from SMALLINT;
ALTER TABLE sched_task ADD COLUMN paused_at BIGINT;
ALTER TABLE sched_task_instance ADD COLUMN grace BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sched_task_instance ADD COLUMN paused BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sched_ready ADD COLUMN start_by BIGINT;

CREATE INDEX idx_sched_task_end_by ON sched_task (end_by) WHERE end_by IS NOT NULL AND finished_at IS NULL;

CREATE INDEX idx_sched_task_paused ON sched_task (agent_id) WHERE paused_from IS NOT NULL;

CREATE INDEX idx_sched_ready_start_by ON sched_ready (start_by) WHERE start_by IS NOT NULL;

ALTER TABLE sched_namespace ADD COLUMN max_running INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sched_job ADD COLUMN max_running INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sched_task_data ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
ALTER TABLE sched_agent ADD COLUMN resources TEXT NOT NULL DEFAULT '{}';

ALTER TABLE sched_task ADD COLUMN group_id BLOB;
ALTER TABLE sched_task ADD COLUMN shard_index INTEGER;
ALTER TABLE sched_task ADD COLUMN shard_total INTEGER;

CREATE INDEX idx_sched_task_group_id ON sched_task (group_id, namespace_id, id, status) WHERE group_id IS NOT NULL;

CREATE TABLE sched_task_group (
  id BLOB NOT NULL,
  namespace_id VARCHAR(63) NOT NULL,
  job_id BLOB NOT NULL,
  job_revision INTEGER NOT NULL,
  mode SMALLINT NOT NULL,
  policy SMALLINT NOT NULL,
  policy_count INTEGER NOT NULL,
  cancel_rest BOOLEAN NOT NULL,
  labels TEXT NOT NULL,
  tags TEXT NOT NULL,
  status SMALLINT NOT NULL,
  total INTEGER NOT NULL,
  succeeded INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  cancelled INTEGER NOT NULL,
  skipped INTEGER NOT NULL,
  closing BOOLEAN NOT NULL,
  closed_by VARCHAR(255) NOT NULL,
  closed_why TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  decided_at BIGINT,
  finished_at BIGINT,
  version INTEGER NOT NULL,
  PRIMARY KEY (id),
  CONSTRAINT ck_sched_task_group_status CHECK (status IN (10, 90, 99, 100)),
  CONSTRAINT ck_sched_task_group_decided CHECK ((status = 10) = (decided_at IS NULL)),
  CONSTRAINT ck_sched_task_group_finished CHECK ((succeeded + failed + cancelled + skipped = total) = (finished_at IS NOT NULL)),
  CONSTRAINT ck_sched_task_group_tally CHECK (succeeded >= 0 AND failed >= 0 AND cancelled >= 0 AND skipped >= 0 AND succeeded + failed + cancelled + skipped <= total)
);

CREATE INDEX idx_sched_task_group_status ON sched_task_group (namespace_id, status, id);

CREATE INDEX idx_sched_task_group_job_status ON sched_task_group (job_id, namespace_id, status, id);

CREATE INDEX idx_sched_task_group_closing ON sched_task_group (id) WHERE closing;
