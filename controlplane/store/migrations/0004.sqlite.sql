CREATE TABLE sched_restore (
  restored_at BIGINT NOT NULL,
  token_floor INTEGER NOT NULL,
  taken_at BIGINT,
  PRIMARY KEY (restored_at),
  CONSTRAINT ck_sched_restore_token_floor CHECK (token_floor >= 1)
);
