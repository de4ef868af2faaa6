CREATE TABLE sched_agent (
  namespace_id VARCHAR(63) NOT NULL,
  id VARCHAR(63) NOT NULL,
  state_id VARCHAR(64) NOT NULL,
  generation INTEGER NOT NULL,
  status SMALLINT NOT NULL,
  drained BOOLEAN NOT NULL,
  labels TEXT NOT NULL,
  declared_labels TEXT NOT NULL,
  serves TEXT NOT NULL,
  executors TEXT NOT NULL,
  slots INTEGER NOT NULL,
  hostname VARCHAR(255) NOT NULL,
  agent_version VARCHAR(63) NOT NULL,
  protocol_version INTEGER NOT NULL,
  session_id VARCHAR(64) NOT NULL,
  replica_id VARCHAR(64) NOT NULL,
  metrics TEXT NOT NULL,
  connected_at BIGINT NOT NULL,
  last_beat_at BIGINT NOT NULL,
  version INTEGER NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (namespace_id, id),
  CONSTRAINT ck_sched_agent_status CHECK (status IN (1, 2, 3, 4, 5))
);

CREATE INDEX idx_sched_agent_status ON sched_agent (status);

CREATE TABLE sched_blob (
  digest VARCHAR(64) NOT NULL,
  content VARCHAR(64) NOT NULL,
  size BIGINT NOT NULL,
  holders INTEGER NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (digest)
);

CREATE TABLE sched_blob_chunk (
  content VARCHAR(64) NOT NULL,
  number INTEGER NOT NULL,
  data BYTEA NOT NULL,
  PRIMARY KEY (content, number)
);

CREATE TABLE sched_fire (
  schedule_id UUID NOT NULL,
  fire_time BIGINT NOT NULL,
  task_id UUID,
  reason TEXT,
  handled_at BIGINT NOT NULL,
  PRIMARY KEY (schedule_id, fire_time),
  CONSTRAINT ck_sched_fire_outcome CHECK ((task_id IS NULL) <> (reason IS NULL))
);

CREATE TABLE sched_idempotency (
  namespace_id VARCHAR(63) NOT NULL,
  method VARCHAR(127) NOT NULL,
  request_id VARCHAR(128) NOT NULL,
  fingerprint BYTEA NOT NULL,
  resource_id VARCHAR(127) NOT NULL,
  refusal TEXT,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (namespace_id, method, request_id)
);

CREATE INDEX idx_sched_idempotency_expires_at ON sched_idempotency (expires_at);

CREATE TABLE sched_job (
  id UUID NOT NULL,
  namespace_id VARCHAR(63) NOT NULL,
  name VARCHAR(63) NOT NULL,
  status SMALLINT NOT NULL,
  revision INTEGER NOT NULL,
  version INTEGER NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  deleted_at BIGINT,
  PRIMARY KEY (id),
  CONSTRAINT ck_sched_job_status CHECK (status IN (1, 2))
);

CREATE INDEX idx_sched_job_created_at ON sched_job (namespace_id, created_at);

CREATE UNIQUE INDEX uq_sched_job_name ON sched_job (namespace_id, name) WHERE deleted_at IS NULL;

CREATE TABLE sched_job_revision (
  job_id UUID NOT NULL,
  revision INTEGER NOT NULL,
  requirement_id INTEGER NOT NULL,
  spec TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (job_id, revision)
);

CREATE TABLE sched_loop_lease (
  name VARCHAR(63) NOT NULL,
  holder VARCHAR(64) NOT NULL,
  token INTEGER NOT NULL,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (name)
);

CREATE TABLE sched_namespace (
  id VARCHAR(63) NOT NULL,
  description TEXT NOT NULL,
  version INTEGER NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  after_task UUID,
  PRIMARY KEY (id)
);

CREATE TABLE sched_output_upload (
  task_id UUID NOT NULL,
  token INTEGER NOT NULL,
  digest VARCHAR(64) NOT NULL,
  size BIGINT NOT NULL,
  content VARCHAR(64) NOT NULL,
  stored BIGINT NOT NULL,
  complete BOOLEAN NOT NULL,
  touched_at BIGINT NOT NULL,
  PRIMARY KEY (task_id, token),
  CONSTRAINT ck_sched_output_upload_stored CHECK (stored <= size)
);

CREATE INDEX idx_sched_output_upload_touched_at ON sched_output_upload (touched_at);

CREATE TABLE sched_plugin (
  namespace_id VARCHAR(63) NOT NULL,
  digest VARCHAR(64) NOT NULL,
  name VARCHAR(63),
  plugin_version VARCHAR(63),
  status SMALLINT NOT NULL,
  reject_reason TEXT NOT NULL,
  size INTEGER NOT NULL,
  metadata TEXT NOT NULL,
  entries TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (namespace_id, digest),
  CONSTRAINT ck_sched_plugin_status CHECK (status IN (1, 2, 3)),
  CONSTRAINT uq_sched_plugin_name UNIQUE (namespace_id, name, plugin_version)
);

CREATE TABLE sched_ready (
  task_id UUID NOT NULL,
  requirement_id INTEGER NOT NULL,
  priority SMALLINT NOT NULL,
  ready_at BIGINT NOT NULL,
  PRIMARY KEY (task_id)
);

CREATE INDEX idx_sched_ready_claim ON sched_ready (requirement_id, priority DESC, ready_at, task_id);

CREATE TABLE sched_requirement (
  id SERIAL NOT NULL,
  namespace_id VARCHAR(63) NOT NULL,
  digest VARCHAR(64) NOT NULL,
  spec TEXT NOT NULL,
  PRIMARY KEY (id),
  CONSTRAINT uq_sched_requirement_digest UNIQUE (namespace_id, digest)
);

CREATE TABLE sched_schedule (
  id UUID NOT NULL,
  namespace_id VARCHAR(63) NOT NULL,
  name VARCHAR(63) NOT NULL,
  job_id UUID NOT NULL,
  kind SMALLINT NOT NULL,
  status SMALLINT NOT NULL,
  timezone VARCHAR(63) NOT NULL,
  spec TEXT NOT NULL,
  parameters BYTEA,
  parameters_type VARCHAR(255),
  next_fire_at BIGINT,
  last_fire_at BIGINT,
  fire_count INTEGER NOT NULL,
  version INTEGER NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  deleted_at BIGINT,
  PRIMARY KEY (id),
  CONSTRAINT ck_sched_schedule_status CHECK (status IN (1, 2, 3, 4)),
  CONSTRAINT ck_sched_schedule_next_fire CHECK (status = 1 OR next_fire_at IS NULL)
);

CREATE INDEX idx_sched_schedule_job_id ON sched_schedule (job_id);

CREATE INDEX idx_sched_schedule_next_fire_at ON sched_schedule (next_fire_at) WHERE next_fire_at IS NOT NULL;

CREATE UNIQUE INDEX uq_sched_schedule_name ON sched_schedule (namespace_id, name) WHERE deleted_at IS NULL;

CREATE TABLE sched_task (
  id UUID NOT NULL,
  namespace_id VARCHAR(63) NOT NULL,
  job_id UUID NOT NULL,
  job_revision INTEGER NOT NULL,
  requirement_id INTEGER NOT NULL,
  schedule_id UUID,
  status SMALLINT NOT NULL,
  priority SMALLINT NOT NULL,
  scheduled_at BIGINT NOT NULL,
  attempt INTEGER NOT NULL,
  max_retries INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  token INTEGER NOT NULL,
  result_token INTEGER NOT NULL,
  stalled INTEGER NOT NULL,
  cause SMALLINT NOT NULL,
  cancel_requested BOOLEAN NOT NULL,
  dead_reason SMALLINT NOT NULL,
  agent_id VARCHAR(63),
  instance_id UUID,
  wake_at BIGINT,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  started_at BIGINT,
  finished_at BIGINT,
  version INTEGER NOT NULL,
  PRIMARY KEY (id),
  CONSTRAINT ck_sched_task_finished CHECK ((status IN (40, 90, 99, 100)) = (finished_at IS NOT NULL)),
  CONSTRAINT ck_sched_task_wake CHECK ((status = 35) = (wake_at IS NOT NULL)),
  CONSTRAINT ck_sched_task_placed CHECK (status NOT IN (5, 10) OR instance_id IS NOT NULL),
  CONSTRAINT ck_sched_task_token CHECK (result_token <= token)
)
 PARTITION BY RANGE (id);

CREATE INDEX idx_sched_task_cancelling ON sched_task (agent_id) WHERE cancel_requested AND status IN (5, 10);

CREATE INDEX idx_sched_task_job_id ON sched_task (job_id, id);

CREATE INDEX idx_sched_task_schedule_id ON sched_task (schedule_id, id) WHERE schedule_id IS NOT NULL;

CREATE INDEX idx_sched_task_scheduled_at ON sched_task (namespace_id, scheduled_at);

CREATE INDEX idx_sched_task_status ON sched_task (namespace_id, status, id);

CREATE TABLE sched_task_data (
  task_id UUID NOT NULL,
  parameters BYTEA,
  parameters_type VARCHAR(255),
  environment TEXT NOT NULL,
  tags TEXT NOT NULL,
  timeout DOUBLE PRECISION,
  cancel_reason TEXT NOT NULL,
  traceparent VARCHAR(64) NOT NULL,
  PRIMARY KEY (task_id)
)
 PARTITION BY RANGE (task_id);

CREATE TABLE sched_task_instance (
  task_id UUID NOT NULL,
  token INTEGER NOT NULL,
  id UUID NOT NULL,
  namespace_id VARCHAR(63) NOT NULL,
  job_id UUID NOT NULL,
  agent_id VARCHAR(63) NOT NULL,
  agent_namespace_id VARCHAR(63) NOT NULL,
  attempt INTEGER NOT NULL,
  cause SMALLINT NOT NULL,
  epoch INTEGER NOT NULL,
  status SMALLINT NOT NULL,
  lease BIGINT NOT NULL,
  timeout BIGINT NOT NULL,
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
  output BYTEA,
  output_type VARCHAR(255),
  output_digest VARCHAR(64),
  progress DOUBLE PRECISION,
  progress_message TEXT,
  PRIMARY KEY (task_id, token),
  CONSTRAINT ck_sched_task_instance_finished CHECK ((status IN (5, 10)) = (finished_at IS NULL)),
  CONSTRAINT ck_sched_task_instance_token CHECK (token >= 1)
)
 PARTITION BY RANGE (task_id);

CREATE INDEX idx_sched_task_instance_id ON sched_task_instance (id);

CREATE INDEX idx_sched_task_instance_job_id ON sched_task_instance (job_id, id);

CREATE INDEX idx_sched_task_instance_open ON sched_task_instance (agent_namespace_id, agent_id) WHERE status IN (5, 10);

CREATE INDEX idx_sched_task_instance_status ON sched_task_instance (namespace_id, status, id);

CREATE INDEX idx_sched_task_instance_task_id ON sched_task_instance (task_id);

CREATE TABLE sched_task_tag (
  task_id UUID NOT NULL,
  key VARCHAR(63) NOT NULL,
  value VARCHAR(255) NOT NULL,
  namespace_id VARCHAR(63) NOT NULL,
  PRIMARY KEY (task_id, key)
)
 PARTITION BY RANGE (task_id);

CREATE INDEX idx_sched_task_tag_value ON sched_task_tag (namespace_id, key, value, task_id);

CREATE TABLE sched_task_transition (
  task_id UUID NOT NULL,
  version INTEGER NOT NULL,
  at BIGINT NOT NULL,
  transition VARCHAR(32) NOT NULL,
  from_status SMALLINT NOT NULL,
  to_status SMALLINT NOT NULL,
  subject VARCHAR(255) NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (task_id, version)
)
 PARTITION BY RANGE (task_id);

CREATE TABLE sched_timer (
  task_id UUID NOT NULL,
  due_at BIGINT NOT NULL,
  PRIMARY KEY (task_id)
);

CREATE INDEX idx_sched_timer_due_at ON sched_timer (due_at);

CREATE TABLE sched_log_chunk (
  task_id UUID NOT NULL,
  token INTEGER NOT NULL,
  number INTEGER NOT NULL,
  instance_id UUID NOT NULL,
  lines BYTEA NOT NULL,
  PRIMARY KEY (task_id, token, number)
)
 PARTITION BY RANGE (task_id);
