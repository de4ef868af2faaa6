CREATE TABLE sched_key (
  id BLOB NOT NULL,
  prefix VARCHAR(12) NOT NULL,
  digest BLOB NOT NULL,
  name VARCHAR(63) NOT NULL,
  description TEXT NOT NULL,
  roles SMALLINT NOT NULL,
  everywhere BOOLEAN NOT NULL,
  created_by VARCHAR(255) NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT,
  last_used_at BIGINT,
  revoked_at BIGINT,
  revoked_by VARCHAR(255),
  version INTEGER NOT NULL,
  PRIMARY KEY (id),
  CONSTRAINT ck_sched_key_roles CHECK (roles BETWEEN 1 AND 31),
  CONSTRAINT ck_sched_key_revoked CHECK ((revoked_at IS NULL) = (revoked_by IS NULL)),
  CONSTRAINT uq_sched_key_prefix UNIQUE (prefix)
);

CREATE UNIQUE INDEX uq_sched_key_name ON sched_key (name) WHERE revoked_at IS NULL;

CREATE TABLE sched_key_namespace (
  key_id BLOB NOT NULL,
  namespace_id VARCHAR(63) NOT NULL,
  position SMALLINT NOT NULL,
  PRIMARY KEY (key_id, namespace_id)
);

CREATE INDEX idx_sched_key_namespace_namespace_id ON sched_key_namespace (namespace_id);
