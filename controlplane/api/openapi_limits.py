"""What a schema can say of a field beyond its type: bounds and patterns, from the constants that the rules are made of.

Only what always holds. Rules that look at several fields, at the state, or at what an answer may hold and a request may
not, stand in the proto files' comments alone. Not here: the schemas themselves (`openapi_schemas.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from controlplane.api.system import LONGEST_CHANGE_SECONDS
from controlplane.domain import job_rules as job
from controlplane.domain import page
from controlplane.domain.group import MAX_MEMBERS
from controlplane.domain.ids import NAME, UUID
from controlplane.domain.schedule import MAX_INTERVAL_SECONDS
from controlplane.engine.actions import MAX_ACTED
from controlplane.engine.schedules import MAX_PREVIEW

Json = dict[str, Any]

UUID_PATTERN = f"^{UUID.pattern.replace('a-f', 'a-fA-F')}$"
PRINTABLE = "^[\\x20-\\x7e]{0,128}$"
_TAG = '([wW]/)?("[^"]*"|[^\\s",]+)'
# As `negotiate.tags_of` reads it: one version or several, strong or weak, or a star.
TAGS_PATTERN = f"^(\\*|{_TAG}(\\s*,\\s*{_TAG}){{0,15}})$"
# The services whose things have ids and no names.
BY_UUID = frozenset({"pawl.v1.TaskService", "pawl.v1.TaskInstanceService", "pawl.v1.TaskGroupService"})

# Requests that act on all that a filter finds.
_BY_FILTER = ("ActOnTasks", "ReplayDeadLetters", "PurgeDeadLetters")
_NAME: Json = {"pattern": f"^{NAME.pattern}$"}
_DESCRIPTION: Json = {"maxLength": job.MAX_DESCRIPTION}


def _range(least: float, most: float) -> Json:
    return {"minimum": least, "maximum": most}


# Of every message that has a field of this name.
_BY_NAME: Mapping[str, Json] = {
    "request_id": {"pattern": PRINTABLE},
    "etag": {"pattern": '^((W/)?"?[0-9]{1,9}"?|\\*)?$'},
    "priority": _range(0, job.MAX_PRIORITY),
    "timeout": _range(job.MIN_TIMEOUT, job.MAX_TIMEOUT),
    "description": _DESCRIPTION,
}
BY_FIELD: Mapping[str, Json] = {
    "pawl.v1.Job.name": _NAME,
    "pawl.v1.Schedule.name": _NAME,
    **{f"pawl.v1.ResourceLimits.{name}": _range(*bounds) for name, bounds in job.LIMITS.items()},
    "pawl.v1.JobConfig.max_output_size": _range(1, job.MAX_OUTPUT_SIZE),
    "pawl.v1.ArtifactRules.max_files": _range(1, job.MAX_ARTIFACTS),
    "pawl.v1.ArtifactRules.max_file_size": _range(1, job.MAX_ARTIFACT_SIZE),
    "pawl.v1.ArtifactRules.max_total_size": _range(1, job.MAX_ARTIFACTS_SIZE),
    "pawl.v1.JobConfig.max_retries": _range(0, job.MAX_RETRIES),
    "pawl.v1.JobConfig.retry_interval": _range(0, job.MAX_RETRY_INTERVAL),
    "pawl.v1.JobConfig.grace_seconds": _range(0, job.MAX_GRACE),
    "pawl.v1.JobConfig.max_stalled": _range(0, job.MAX_STALLED),
    "pawl.v1.JobConfig.lost_after_seconds": _range(job.MIN_LOST_AFTER, job.MAX_LOST_AFTER),
    "pawl.v1.RetryRules.multiplier": _range(1, job.MAX_MULTIPLIER),
    "pawl.v1.RetryRules.jitter": _range(0, 1),
    "pawl.v1.RetryRules.max_interval_seconds": _range(0.001, job.MAX_RETRY_INTERVAL),
    "pawl.v1.RetryRules.max_elapsed_seconds": _range(0.001, job.MAX_TIMEOUT),
    "pawl.v1.Schedule.interval_seconds": {"maximum": MAX_INTERVAL_SECONDS},
    "pawl.v1.TaskGroup.shards": _range(1, MAX_MEMBERS),
    "pawl.v1.TaskGroup.policy_count": _range(0, MAX_MEMBERS),
    "pawl.v1.UpdateLogLevelRequest.for_seconds": _range(0, LONGEST_CHANGE_SECONDS),
    "pawl.v1.PreviewScheduleRequest.count": _range(1, MAX_PREVIEW),
    **{f"pawl.v1.{one}Request.limit": _range(1, MAX_ACTED) for one in _BY_FILTER},
    "pawl.v1.Page.page": {"minimum": 1},
    "pawl.v1.Page.page_size": _range(1, page.MAX_SIZE),
    "pawl.v1.Page.limit": _range(1, page.MAX_SIZE),
    "pawl.v1.Page.offset": _range(0, page.REACH),
}


def limits_of(field: FieldDescriptor) -> Json:
    """Keywords of JSON schema for a field."""
    return dict(BY_FIELD.get(field.full_name) or _BY_NAME.get(field.name, {}))
