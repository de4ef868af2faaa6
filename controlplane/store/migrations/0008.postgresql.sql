CREATE TABLE sched_artifact (
  task_id UUID NOT NULL,
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
