"""JobService: requests to use cases and back."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty
from pawl.v1 import job_pb2

from controlplane.api import translate
from controlplane.api.call import Call
from controlplane.domain.job import Job, JobStatus
from controlplane.engine.jobs import Jobs


class JobService:
    """`pawl.v1.JobService`."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def create_job(self, call: Call, request: job_pb2.CreateJobRequest) -> job_pb2.Job:
        """Creates a job."""
        made = await self._jobs.create(call.namespace_id, translate.read_job(request.job), call.idempotency)
        return _answer(call, made)

    async def get_job(self, call: Call, request: job_pb2.GetJobRequest) -> job_pb2.Job:
        """Reads a job by id or name."""
        return _answer(call, await self._jobs.get(call.namespace_id, translate.read_key(request.id, "id")))

    async def list_jobs(self, call: Call, request: job_pb2.ListJobsRequest) -> job_pb2.ListJobsResponse:
        """Lists jobs, page by page."""
        page, found = await self._jobs.list(translate.read_question(call.namespace_id, request))
        return job_pb2.ListJobsResponse(data=map(translate.job, found), **translate.page_fields(page))

    async def update_job(self, call: Call, request: job_pb2.UpdateJobRequest) -> job_pb2.Job:
        """Changes a job."""
        changed = await self._jobs.update(
            call.namespace_id,
            translate.job_key(request.job),
            translate.job_change(request.job, request.update_mask),
            etag=translate.read_etag(request.etag),
            request=call.idempotency,
        )
        return _answer(call, changed)

    async def delete_job(self, call: Call, request: job_pb2.DeleteJobRequest) -> Empty:
        """Deletes a job."""
        await self._jobs.delete(
            call.namespace_id,
            translate.read_key(request.id, "id"),
            cascade=translate.read_cascade(request.cascade),
            by=call.principal.subject,
            etag=translate.read_etag(request.etag),
            request=call.idempotency,
        )
        return Empty()

    async def enable_job(self, call: Call, request: job_pb2.EnableJobRequest) -> job_pb2.Job:
        """Lets the job make tasks again."""
        return await self._set_status(call, request.id, JobStatus.ENABLED)

    async def disable_job(self, call: Call, request: job_pb2.DisableJobRequest) -> job_pb2.Job:
        """Stops the job from making tasks."""
        return await self._set_status(call, request.id, JobStatus.DISABLED)

    async def _set_status(self, call: Call, key: str, status: JobStatus) -> job_pb2.Job:
        key = translate.read_key(key, "id")
        return _answer(call, await self._jobs.set_status(call.namespace_id, key, status, call.idempotency))


def _answer(call: Call, one: Job) -> job_pb2.Job:
    call.response_headers["etag"] = translate.write_etag(one.version)
    return translate.job(one)
