ALTER TABLE sched_requirement ADD COLUMN touched_at BIGINT NOT NULL DEFAULT 0;

CREATE INDEX idx_sched_requirement_touched_at ON sched_requirement (touched_at);

CREATE INDEX idx_sched_job_revision_requirement_id ON sched_job_revision (requirement_id);
