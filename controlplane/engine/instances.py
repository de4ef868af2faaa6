"""Task instances, as people read them."""

from __future__ import annotations

from typing import Any

from controlplane.domain.errors import NotFound
from controlplane.engine import lists
from controlplane.engine.context import Engine
from controlplane.engine.lists import Question
from controlplane.engine.nouns import TASK_INSTANCES
from controlplane.store import Connection, Row, instances
from controlplane.store.query import Page


class Instances:
    """The use cases of instances."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def get(self, namespace_id: str, instance_id: str) -> Row[Any]:
        """The row of an instance. Raises NotFound."""
        row = await self._engine.store.read(instances.find, namespace_id, instance_id)
        if row is None:
            raise NotFound.of("task instance", instance_id, namespace_id)
        return row

    async def page(self, question: Question) -> Page:
        """One page of instances, without their outputs. Raises Invalid."""
        return await self._engine.store.read(self._page, question)

    @staticmethod
    def _page(connection: Connection, question: Question) -> Page:
        listing = instances.listing(connection, question.namespace_id)
        return lists.ask(connection, TASK_INSTANCES, listing, question, default_order=("-id",))
