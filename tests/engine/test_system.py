"""How the control plane says it is, when something is not as it should be."""

import time

import sqlalchemy as sa

from controlplane.engine.sessions import Sessions
from controlplane.engine.system import PROBE_SECONDS, System
from tests.engine.stage import opened


async def test_health_answers_in_time_when_the_database_does_not(postgres_url: str) -> None:
    with opened(postgres_url) as one:
        system = System(one.engine, Sessions(), list, [])
        apart = sa.create_engine(one.engine.store.url)
        with apart.connect() as connection:
            connection.exec_driver_sql("LOCK TABLE sched_schema IN ACCESS EXCLUSIVE MODE")
            began = time.monotonic()
            check = await system.database_check()
            assert time.monotonic() - began < PROBE_SECONDS + 5
            assert (check.status, check.message) == ("NOT_SERVING", "no answer within 2 s")
            connection.rollback()
        apart.dispose()
        assert (await system.database_check()).status == "SERVING"
