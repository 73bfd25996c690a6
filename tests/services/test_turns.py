"""Turns: how many work at a time, and who waits for whom."""

import asyncio

import pytest

from triptych.core.errors import QueueFull
from triptych.services.turns import Turns


class Caller:
    """Takes a turn and keeps it until it is told to leave."""

    def __init__(self, turns, tenant):
        self.works, self._leave = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._take(turns, tenant))

    async def _take(self, turns, tenant):
        async with turns.take(tenant):
            self.works.set()
            await self._leave.wait()

    async def leave(self):
        self._leave.set()
        await self._task

    async def give_up(self):
        self._task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._task


async def settled():
    """Lets everybody go as far as they can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_tenant_has_one_turn_at_a_time_and_leaves_the_other_to_others():
    turns = Turns("files", at_once=2, waiting=9)
    first, second, other = Caller(turns, "a"), Caller(turns, "a"), Caller(turns, "b")
    await settled()
    assert [caller.works.is_set() for caller in (first, second, other)] == [True, False, True]
    third = Caller(turns, "c")
    await settled()
    assert not third.works.is_set()
    await first.leave()
    await settled()
    assert third.works.is_set() or second.works.is_set()
    for caller in (other, second, third):
        await caller.leave()


async def test_few_wait_and_who_gives_up_makes_room():
    turns = Turns("files", at_once=1, waiting=2)
    first, second = Caller(turns, "a"), Caller(turns, "a")
    await settled()
    with pytest.raises(QueueFull, match="2 calls for files"):
        async with turns.take("a"):
            pass
    await second.give_up()
    third = Caller(turns, "a")
    await first.leave()
    await third.works.wait()
    await third.leave()
    async with turns.take("a"):
        pass
