"""Bodies to copy, for the OpenAPI document and `/docs`: one for each call that makes or looks for something.

Not here: what is allowed (the schemas), and commands to run (the READMEs).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TASK = "01980000-0000-7000-8000-000000000000"

# By RPC; paths that bind the same RPC with the same body share one.
EXAMPLES: Mapping[str, Any] = {
    "pawl.v1.JobService/CreateJob": {
        "name": "convert",
        "description": "Prints what it is given.",
        "config": {"cmd": "cat", "timeout": 300, "max_retries": 3, "retry_interval": 5},
    },
    "pawl.v1.JobService/UpdateJob": {"description": "Prints what it is given, and ends."},
    "pawl.v1.JobService/ListJobs": {"filter": {"name": {"eq": "convert"}}, "page": {"page_size": 10}},
    "pawl.v1.TaskService/CreateTask": {"job_id": "convert", "parameters": {"price": 1.5}, "tags": {"customer": "42"}},
    "pawl.v1.TaskService/ListTasks": {
        "filter": {"status": {"in": ["SUCCEEDED", "FAILED"]}, "tags.customer": {"eq": "42"}},
        "order_by": ["-created_at"],
        "page": {"page_size": 10},
    },
    "pawl.v1.TaskService/CancelTask": {"reason": "not needed any more"},
    "pawl.v1.TaskGroupService/CreateTaskGroup": {"job_id": "convert", "mode": "SHARDED", "shards": 4},
    "pawl.v1.TaskGroupService/ListTaskGroups": {"filter": {"status": {"eq": "RUNNING"}}},
    "pawl.v1.TaskGroupService/CancelTaskGroup": {"reason": "not needed any more"},
    "pawl.v1.TaskInstanceService/ListTaskInstances": {"filter": {"task_id": {"eq": _TASK}}},
    "pawl.v1.ScheduleService/CreateSchedule": {
        "name": "every-morning",
        "job_id": "convert",
        "kind": "CRON",
        "cron_expression": "0 6 * * *",
        "timezone": "Europe/Berlin",
    },
    "pawl.v1.ScheduleService/ListSchedules": {"order_by": ["name"]},
    "pawl.v1.AgentService/ListAgents": {"filter": {"status": {"eq": "ONLINE"}}},
    "pawl.v1.NamespaceService/CreateNamespace": {"id": "team-a", "description": "Everything of team A."},
}
