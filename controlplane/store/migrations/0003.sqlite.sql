CREATE INDEX idx_sched_job_deleted_at ON sched_job (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE INDEX idx_sched_schedule_deleted_at ON sched_schedule (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE INDEX idx_sched_fire_handled_at ON sched_fire (handled_at);
