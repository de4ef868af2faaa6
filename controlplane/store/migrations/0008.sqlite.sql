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
