CREATE TABLE sched_log_chunk (
  task_id BLOB NOT NULL,
  token INTEGER NOT NULL,
  number INTEGER NOT NULL,
  instance_id BLOB NOT NULL,
  lines BLOB NOT NULL,
  PRIMARY KEY (task_id, token, number)
);
