ALTER TABLE sched_task_data ADD COLUMN tracestate TEXT NOT NULL DEFAULT '';

ALTER TABLE sched_task_data ADD COLUMN baggage TEXT NOT NULL DEFAULT '';
