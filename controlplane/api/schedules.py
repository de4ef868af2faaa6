"""ScheduleService: requests to use cases and back."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty
from pawl.v1 import schedule_pb2

from controlplane.api import translate
from controlplane.api.call import Call
from controlplane.domain.schedule_rules import ScheduleStatus
from controlplane.engine.lists import Question
from controlplane.engine.schedules import Schedules, ScheduleView

DEFAULT_PREVIEW = 10


class ScheduleService:
    """`pawl.v1.ScheduleService`."""

    def __init__(self, schedules: Schedules) -> None:
        self._schedules = schedules

    async def create_schedule(self, call: Call, request: schedule_pb2.CreateScheduleRequest) -> schedule_pb2.Schedule:
        """Creates a schedule."""
        draft = translate.read_schedule(request.schedule)
        return _answer(call, await self._schedules.create(call.namespace_id, draft, call.idempotency))

    async def get_schedule(self, call: Call, request: schedule_pb2.GetScheduleRequest) -> schedule_pb2.Schedule:
        """Reads a schedule by id or name."""
        return _answer(call, await self._schedules.get(call.namespace_id, translate.read_key(request.id, "id")))

    async def list_schedules(
        self, call: Call, request: schedule_pb2.ListSchedulesRequest
    ) -> schedule_pb2.ListSchedulesResponse:
        """Lists schedules, page by page."""
        page, found = await self._schedules.list(translate.read_question(call.namespace_id, request))
        return schedule_pb2.ListSchedulesResponse(data=map(translate.schedule, found), **translate.page_fields(page))

    async def update_schedule(self, call: Call, request: schedule_pb2.UpdateScheduleRequest) -> schedule_pb2.Schedule:
        """Changes a schedule."""
        changed = await self._schedules.update(
            call.namespace_id,
            translate.schedule_key(request.schedule),
            translate.schedule_change(request.schedule, request.update_mask),
            etag=translate.read_etag(request.etag),
            request=call.idempotency,
        )
        return _answer(call, changed)

    async def delete_schedule(self, call: Call, request: schedule_pb2.DeleteScheduleRequest) -> Empty:
        """Deletes a schedule."""
        key, etag = translate.read_key(request.id, "id"), translate.read_etag(request.etag)
        await self._schedules.delete(call.namespace_id, key, etag=etag, request=call.idempotency)
        return Empty()

    async def enable_schedule(self, call: Call, request: schedule_pb2.EnableScheduleRequest) -> schedule_pb2.Schedule:
        """Lets the schedule fire again, from the next slot on."""
        return await self._set_status(call, request.id, ScheduleStatus.ACTIVE)

    async def disable_schedule(self, call: Call, request: schedule_pb2.DisableScheduleRequest) -> schedule_pb2.Schedule:
        """Stops the schedule from firing."""
        return await self._set_status(call, request.id, ScheduleStatus.DISABLED)

    async def preview_schedule(
        self, call: Call, request: schedule_pb2.PreviewScheduleRequest
    ) -> schedule_pb2.PreviewScheduleResponse:
        """Computes the next fires of a schedule, stored or only thought of."""
        after = translate.read_timestamp(request.after, "after") if request.HasField("after") else None
        count = request.count if request.HasField("count") else DEFAULT_PREVIEW
        wanted = translate.read_preview(request.schedule)
        one, slots = await self._schedules.preview(call.namespace_id, wanted, after, count)
        return translate.preview(slots, one.timezone)

    async def list_schedule_fires(
        self, call: Call, request: schedule_pb2.ListScheduleFiresRequest
    ) -> schedule_pb2.ListScheduleFiresResponse:
        """Lists what became of each slot of a schedule, the newest first."""
        question = Question(call.namespace_id, None, [], translate.read_page(request.page))
        page, found = await self._schedules.fires(translate.read_key(request.id, "id"), question)
        return schedule_pb2.ListScheduleFiresResponse(data=map(translate.fire, found), **translate.page_fields(page))

    async def _set_status(self, call: Call, key: str, status: ScheduleStatus) -> schedule_pb2.Schedule:
        key = translate.read_key(key, "id")
        return _answer(call, await self._schedules.set_status(call.namespace_id, key, status, call.idempotency))


def _answer(call: Call, view: ScheduleView) -> schedule_pb2.Schedule:
    call.response_headers["etag"] = translate.write_etag(view.schedule.version)
    return translate.schedule(view)
