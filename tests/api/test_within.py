"""What bounds a call: its time, and its client's presence. Whoever else cancels it is not mistaken for either."""

import asyncio
import contextlib
from typing import Any

import pytest

from controlplane.api.bodies import ClientGone
from controlplane.api.stream import attended
from controlplane.api.within import Within


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_a_block_that_lasts_too_long_raises_and_whoever_ran_it_goes_on() -> None:
    with pytest.raises(TimeoutError), Within(0.01):
        await for_ever()
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_of_two_bounds_the_one_that_is_over_raises() -> None:
    with Within(60.0):
        with pytest.raises(TimeoutError), Within(0.01):
            await for_ever()
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError), Within(0.01), Within(60.0):
        await for_ever()


async def test_what_ends_in_time_is_not_cancelled_later() -> None:
    with Within(0.01):
        await asyncio.sleep(0)
    await asyncio.sleep(0.03)


async def test_an_error_of_the_block_stays_what_it_is() -> None:
    async def fails() -> None:
        with Within(60.0):
            await asyncio.sleep(0)
            raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        await fails()


async def test_who_is_cancelled_from_outside_is_cancelled() -> None:
    async def bounded() -> None:
        with Within(60.0):
            await for_ever()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(bounded())
        await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()


class Client:
    """One that stays until it leaves."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.looked_for = asyncio.Event()

    async def receive(self) -> Any:
        self.looked_for.set()
        await self.left.wait()
        return {"type": "http.disconnect"}


async def test_a_call_ends_when_its_client_leaves_and_its_work_is_cancelled() -> None:
    client, cancelled = Client(), asyncio.Event()

    async def work() -> None:
        client.left.set()
        try:
            await for_ever()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(ClientGone):
        await attended(client.receive, work(), after=0)
    assert cancelled.is_set()
    await asyncio.sleep(0)  # and nobody is cancelled after that


async def test_a_client_who_leaves_while_the_work_ends_is_gone_and_harms_nobody() -> None:
    client = Client()

    async def work() -> str:
        await client.looked_for.wait()
        client.left.set()
        for _ in range(2):  # until the look-out is about to say so
            await asyncio.sleep(0)
        return "done"

    with contextlib.suppress(ClientGone):
        assert await attended(client.receive, work(), after=0) == "done"
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_call_whose_client_stays_gives_what_its_work_gives() -> None:
    client = Client()

    async def work() -> str:
        await client.looked_for.wait()
        return "done"

    async def fails() -> str:
        await client.looked_for.wait()
        raise ValueError("its own")

    assert await attended(client.receive, work(), after=0) == "done"
    with pytest.raises(ValueError, match="its own"):
        await attended(client.receive, fails(), after=0)


async def test_a_call_that_is_cancelled_from_outside_is_cancelled_and_looks_out_no_more() -> None:
    client = Client()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(attended(client.receive, for_ever(), after=0))
        await client.looked_for.wait()
        task.cancel()
    assert task.cancelled()
    assert asyncio.all_tasks() == {asyncio.current_task()}
