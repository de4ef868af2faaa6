DROP INDEX idx_sched_task_job_id;
DROP INDEX idx_sched_task_schedule_id;
DROP INDEX idx_sched_task_instance_job_id;

CREATE INDEX idx_sched_task_job_status ON sched_task (job_id, namespace_id, status, id);

CREATE INDEX idx_sched_task_schedule_id ON sched_task (schedule_id, namespace_id, id) WHERE schedule_id IS NOT NULL;

CREATE INDEX idx_sched_task_instance_job_status ON sched_task_instance (job_id, namespace_id, status, id);
