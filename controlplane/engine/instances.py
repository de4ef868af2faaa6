"""Task instances, as people read them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from controlplane.domain.errors import NotFound
from controlplane.engine import lists
from controlplane.engine.context import Engine
from controlplane.engine.lists import Question
from controlplane.engine.nouns import TASK_INSTANCES
from controlplane.store.query import Listing, Page
from controlplane.store.tables import task_instance

_SHORT = [column for column in task_instance.c if column.name != "output"]


class Instances:
    """The use cases of instances."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def get(self, namespace_id: str, instance_id: str) -> Row[Any]:
        """The row of an instance. Raises NotFound."""

        def read(connection: Connection) -> Row[Any]:
            statement = sa.select(task_instance).where(task_instance.c.id == instance_id)
            row = connection.execute(statement.where(task_instance.c.namespace_id == namespace_id)).one_or_none()
            if row is None:
                raise NotFound.of("task instance", instance_id, namespace_id)
            return row

        return await self._engine.store.read(read)

    async def page(self, question: Question) -> Page:
        """One page of instances, without their outputs. Raises Invalid."""

        def read(connection: Connection) -> Page:
            rows = sa.select(*_SHORT).where(task_instance.c.namespace_id == question.namespace_id)
            listing = Listing(rows, task_instance.c)
            return lists.ask(connection, TASK_INSTANCES, listing, question, default_order=("-id",))

        return await self._engine.store.read(read)
