"""AgentService: operators' calls, agents' logs and large outputs. The stream itself stands in `link.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty
from pawl.artifacts import BYTES
from pawl.v1 import agent_pb2

from controlplane.api import translate, translate_tasks
from controlplane.api.link import Link
from controlplane.domain.errors import Exhausted, Invalid
from controlplane.domain.job_rules import label_problems
from controlplane.engine.agents import Agents, AgentView
from controlplane.engine.artifacts import Artifacts
from controlplane.engine.logs import Logs
from controlplane.engine.outputs import Outputs
from controlplane.engine.uploads import Piece

if TYPE_CHECKING:
    from controlplane.api.call import Call

MAX_LOG_BYTES = 2 << 20


class AgentService:
    """`pawl.v1.AgentService`."""

    def __init__(self, agents: Agents, logs: Logs, link: Link, outputs: Outputs, artifacts: Artifacts) -> None:
        self._agents = agents
        self._logs = logs
        self._link = link
        self._outputs = outputs
        self._artifacts = artifacts

    def connect(
        self, call: Call, requests: AsyncIterator[agent_pb2.ConnectRequest]
    ) -> AsyncIterator[agent_pb2.ConnectResponse]:
        """The stream between an agent and the control plane."""
        return self._link.connect(call, requests)

    async def append_logs(self, call: Call, request: agent_pb2.AppendLogsRequest) -> agent_pb2.AppendLogsResponse:
        """Stores what running instances print."""
        chunks = translate_tasks.read_chunks(request)
        size = sum(len(one.packed) for one in chunks)
        if size > MAX_LOG_BYTES:
            size = sum(
                len(line.data) for chunk in request.chunks for line in chunk.lines
            )  # what is around them is free
        if size > MAX_LOG_BYTES:
            raise Exhausted(f"chunks: have {size:,} bytes, at most {MAX_LOG_BYTES:,} are allowed", reason="TOO_LARGE")
        stored = await self._logs.append(chunks, call.namespace_id)
        return agent_pb2.AppendLogsResponse(stored=stored)

    async def put_output(self, call: Call, request: agent_pb2.PutOutputRequest) -> agent_pb2.PutOutputResponse:
        """Stores a piece of an output that is too large for the stream."""
        agent = (call.namespace_id, translate.read_key(request.agent_id, "agent_id"))
        piece = Piece(request.digest, request.size, request.offset, request.data)
        progress = await self._outputs.put(translate_tasks.read_ref(request.instance), agent, piece)
        return agent_pb2.PutOutputResponse(stored=progress.stored, complete=progress.complete)

    async def put_artifact(self, call: Call, request: agent_pb2.PutArtifactRequest) -> agent_pb2.PutArtifactResponse:
        """Stores a piece of an artifact."""
        agent = (call.namespace_id, translate.read_key(request.agent_id, "agent_id"))
        ref = translate_tasks.read_ref(request.instance)
        kind = translate.read_media_type(request.content_type, "content_type") or BYTES
        piece = Piece(request.digest, request.size, request.offset, request.data)
        progress = await self._artifacts.put(ref, agent, request.name, kind, piece)
        return agent_pb2.PutArtifactResponse(stored=progress.stored, complete=progress.complete)

    async def get_agent(self, call: Call, request: agent_pb2.GetAgentRequest) -> agent_pb2.Agent:
        """Reads an agent."""
        return _answer(call, await self._agents.get((call.namespace_id, translate.read_key(request.id, "id"))))

    async def list_agents(self, call: Call, request: agent_pb2.ListAgentsRequest) -> agent_pb2.ListAgentsResponse:
        """Lists agents, page by page."""
        page, found = await self._agents.page(translate.read_question(call.namespace_id, request))
        return agent_pb2.ListAgentsResponse(data=map(translate_tasks.agent, found), **translate.page_fields(page))

    async def update_agent(self, call: Call, request: agent_pb2.UpdateAgentRequest) -> agent_pb2.Agent:
        """Changes an agent's labels."""
        unknown = [path for path in request.update_mask.paths if path not in ("labels", "agent.labels", "*")]
        if unknown:
            raise Invalid.field("update_mask", f"only labels can be changed, not {unknown[0][:64]!r}")
        problems = list(label_problems(request.agent.labels, "agent.labels"))
        if problems:
            raise Invalid.fields(problems)
        changed = await self._agents.relabel(
            (call.namespace_id, translate.read_key(request.agent.id, "agent.id")),
            dict(request.agent.labels),
            etag=translate.read_etag(request.etag),
            request=call.idempotency,
        )
        return _answer(call, changed)

    async def drain_agent(self, call: Call, request: agent_pb2.DrainAgentRequest) -> agent_pb2.Agent:
        """Lets an agent finish what it has and gives it nothing new."""
        translate_tasks.read_reason(request.reason)
        key = (call.namespace_id, translate.read_key(request.id, "id"))
        return _answer(call, await self._agents.drain(key, request=call.idempotency))

    async def delete_agent(self, call: Call, request: agent_pb2.DeleteAgentRequest) -> Empty:
        """Forgets an agent that is gone."""
        key = (call.namespace_id, translate.read_key(request.id, "id"))
        await self._agents.delete(key, request=call.idempotency)
        return Empty()


def _answer(call: Call, view: AgentView) -> agent_pb2.Agent:
    call.response_headers["etag"] = translate.write_etag(view.agent.version)
    return translate_tasks.agent(view)
