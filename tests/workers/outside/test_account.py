"""What becomes of reservations when calls are cancelled and Redis is away."""

import asyncio
import secrets

import pytest

from triptych.core import spending
from triptych.core.errors import BudgetExhausted
from triptych.core.policy import TenantPolicy
from triptych.core.spending import Leaving
from triptych.core.store import AsyncStore
from triptych.core.testing import ThrowawayRedis
from triptych.workers.outside.account import Account

POLICY = TenantPolicy(budget=1.0)


def leaving():
    return Leaving(
        id=secrets.token_hex(16), tenant="acme", job_id="j1", data_class="public", model="far", host="far.example",
        documents=(), body_digest="0" * 64, body_bytes=1, image_count=0, redaction_count=0, why="named",
    )  # fmt: skip


@pytest.fixture
async def store(redis_url):
    store = AsyncStore(redis_url)
    yield store
    await store.close()


async def spent(store):
    found = await store.run(spending.spent("acme", POLICY))
    return found.used, found.reserved


async def test_a_reservation_whose_call_is_cancelled_at_any_moment_costs_nothing(store):
    account = Account(store, 3600)
    for delay_s in (0, 0, 0.0005, 0.001, 0.002, 0.005):
        task = asyncio.create_task(account.reserve(leaving(), 1000, POLICY, longest_s=1))
        await asyncio.sleep(delay_s)
        if task.cancel():
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            # It was granted before: whoever has it settles it.
            await task
    await account.close(10)
    used, reserved = await spent(store)
    assert used == 0
    assert reserved in range(0, 6001, 1000)
    entries = await store.run(spending.list_page("acme", after="", limit=99))
    assert all((entry.outcome, entry.cost) == ("cancelled", 0) for entry in entries)
    assert len(entries) + reserved // 1000 <= 6


async def test_a_refusal_is_told_and_leaves_nothing(store):
    account = Account(store, 3600)
    with pytest.raises(BudgetExhausted):
        await account.reserve(leaving(), 2_000_000, POLICY, longest_s=1)
    await account.close(10)
    assert await spent(store) == (0, 0)


async def test_what_a_call_cost_is_told_when_redis_is_back():
    server = ThrowawayRedis().start()
    store = AsyncStore(server.url)
    try:
        account, facts = Account(store, 3600), leaving()
        await account.reserve(facts, 1000, POLICY, longest_s=60)
        await asyncio.to_thread(server.freeze)
        # A result waits for its entry only so long.
        async with asyncio.timeout(30):
            await account.settle(facts, "ok", 240, (100, 4), longest_s=60)
        await asyncio.to_thread(server.thaw)
        await account.close(60)
        assert await spent(store) == (240, 0)
    finally:
        await store.close()
        server.close()
