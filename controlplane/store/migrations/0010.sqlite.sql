CREATE TABLE sched_request (
  digest BLOB NOT NULL,
  content BLOB NOT NULL,
  resource_id BLOB,
  expires_at BIGINT NOT NULL,
  namespace_id VARCHAR(63) NOT NULL,
  resource_name VARCHAR(127),
  refusal TEXT,
  PRIMARY KEY (digest)
);

CREATE INDEX idx_sched_request_expires_at ON sched_request (expires_at);

INSERT INTO sched_request (digest, content, resource_id, expires_at, namespace_id, resource_name, refusal)
SELECT
  CAST(substr(pawl_sha256(namespace_id), 1, 4) || substr(pawl_sha256(namespace_id || char(10) || method || char(10) || request_id), 1, 12) AS BLOB),
  substr(fingerprint, 1, 16),
  CASE WHEN length(resource_id) = 36 THEN pawl_id(resource_id) END,
  expires_at,
  namespace_id,
  CASE WHEN length(resource_id) <> 36 OR pawl_id(resource_id) IS NULL THEN nullif(resource_id, '') END,
  refusal
FROM sched_idempotency;

DELETE FROM sched_idempotency;

CREATE TABLE sched_task_instance_0010 (
  task_id BLOB NOT NULL,
  token INTEGER NOT NULL,
  id BLOB NOT NULL,
  namespace_id VARCHAR(63) NOT NULL,
  job_id BLOB NOT NULL,
  agent_id VARCHAR(63) NOT NULL,
  agent_namespace_id VARCHAR(63) NOT NULL,
  attempt INTEGER NOT NULL,
  cause SMALLINT NOT NULL,
  epoch INTEGER NOT NULL,
  status SMALLINT NOT NULL,
  lease BIGINT,
  timeout BIGINT,
  created_at BIGINT NOT NULL,
  started_at BIGINT,
  finished_at BIGINT,
  exit_code INTEGER,
  signal SMALLINT,
  late_result BOOLEAN NOT NULL,
  error_code VARCHAR(64),
  error_message TEXT,
  error_retryable BOOLEAN,
  metrics TEXT,
  output_size BIGINT NOT NULL,
  output_truncated BOOLEAN NOT NULL,
  output BLOB,
  output_type VARCHAR(255),
  output_digest VARCHAR(64),
  progress DOUBLE,
  progress_message TEXT,
  grace BIGINT DEFAULT 0,
  paused BIGINT DEFAULT 0,
  PRIMARY KEY (task_id, token),
  CONSTRAINT ck_sched_task_instance_finished CHECK ((status IN (5, 10)) = (finished_at IS NULL)),
  CONSTRAINT ck_sched_task_instance_terms CHECK (status NOT IN (5, 10) OR (lease + timeout + grace + paused) IS NOT NULL),
  CONSTRAINT ck_sched_task_instance_token CHECK (token >= 1)
);

INSERT INTO sched_task_instance_0010
SELECT
  task_id, token, id, namespace_id, job_id, agent_id, agent_namespace_id, attempt, cause, epoch, status,
  CASE WHEN status IN (5, 10) THEN lease END, CASE WHEN status IN (5, 10) THEN timeout END,
  created_at, started_at, finished_at, exit_code, signal, late_result, error_code, error_message, error_retryable, metrics,
  output_size, output_truncated, output, output_type, output_digest, progress, progress_message,
  CASE WHEN status IN (5, 10) THEN grace END, CASE WHEN status IN (5, 10) THEN paused END
FROM sched_task_instance;

DROP TABLE sched_task_instance;

ALTER TABLE sched_task_instance_0010 RENAME TO sched_task_instance;

CREATE INDEX idx_sched_task_instance_id ON sched_task_instance (id);

CREATE INDEX idx_sched_task_instance_task_id ON sched_task_instance (task_id);

CREATE INDEX idx_sched_task_instance_status ON sched_task_instance (namespace_id, status, id);

CREATE INDEX idx_sched_task_instance_job_status ON sched_task_instance (job_id, namespace_id, status, id);

CREATE INDEX idx_sched_task_instance_open ON sched_task_instance (agent_namespace_id, agent_id) WHERE status IN (5, 10);
