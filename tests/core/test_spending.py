"""Budgets and the ledger against a real Redis: sums that never pass a budget, and entries that add up to them."""

import datetime
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import resources

import pytest
import redis

from triptych.core import spending
from triptych.core.errors import BudgetExhausted
from triptych.core.policy import TenantPolicy
from triptych.core.spending import Leaving
from triptych.core.store import PREFIX, Store

POLICY = TenantPolicy(budget=1.0, period="month")
KEPT_S = 3600


@pytest.fixture
def store(redis_url):
    store = Store(redis_url)
    yield store
    store.close()


def leaving(**changes):
    facts = Leaving(
        id=secrets.token_hex(16),
        tenant="acme",
        job_id="j1",
        data_class="public",
        model="big",
        host="api.example.com",
        documents=("0" * 64, "1" * 64),
        body_digest="2" * 64,
        body_bytes=1234,
        image_count=1,
        redaction_count=2,
        why="named",
    )
    return replace(facts, **changes)


def reserve(store, facts, amount, policy=POLICY, ttl_s=60):
    store.run(spending.reserve(facts, amount, policy, ttl_s=ttl_s, kept_s=KEPT_S))


def entries(store, tenant="acme"):
    return store.run(spending.list_page(tenant, after="", limit=1000))


def spent(store, policy=POLICY):
    return store.run(spending.spent("acme", policy))


def test_what_is_settled_is_used_and_in_the_ledger_with_all_facts(store):
    facts = leaving()
    reserve(store, facts, 600_000)
    assert (spent(store).used, spent(store).reserved) == (0, 600_000)
    assert entries(store) == []
    assert store.run(spending.settle(facts.id, "ok", 123, input_tokens=100, output_tokens=7))
    assert (spent(store).used, spent(store).reserved) == (123, 0)
    [entry] = entries(store)
    assert entry.leaving == facts
    assert (entry.outcome, entry.cost, entry.reserved) == ("ok", 123, 600_000)
    assert (entry.input_tokens, entry.output_tokens) == (100, 7)
    assert entry.period_ms <= entry.begin_ms <= entry.end_ms
    assert not store.run(spending.settle(facts.id, "ok", 123))
    assert spent(store).used == 123


def test_what_the_budget_does_not_have_is_refused_until_there_is_room(store):
    first = leaving()
    reserve(store, first, 900_000)
    with pytest.raises(BudgetExhausted, match=r"0\.2; 0\.1 of 1 a month is left"):
        reserve(store, leaving(), 200_000)
    store.run(spending.settle(first.id, "ok", 100_000))
    reserve(store, leaving(), 900_000)


def test_a_model_that_costs_nothing_needs_no_budget(store):
    poor = TenantPolicy(budget=0)
    reserve(store, leaving(), 0, poor)
    with pytest.raises(BudgetExhausted):
        reserve(store, leaving(), 1, poor)


def test_a_script_that_is_sent_again_reserves_once(store):
    facts = leaving()
    for _ in range(3):
        reserve(store, facts, 400_000)
    assert spent(store).reserved == 400_000


def test_sixty_four_at_once_never_pass_the_budget_and_the_ledger_adds_up(store):
    seen = []

    def call(number):
        facts = leaving()
        try:
            reserve(store, facts, 150_000)
        except BudgetExhausted:
            return 0
        now = spent(store)
        seen.append(now.used + now.reserved)
        store.run(spending.settle(facts.id, "ok", 10_000 + number))
        return 1

    with ThreadPoolExecutor(64) as threads:
        made = sum(threads.map(call, range(640)))
    assert max(seen) <= 1_000_000
    assert spent(store).used <= 1_000_000
    assert spent(store).reserved == 0
    found = entries(store)
    assert len(found) == made > 0
    assert sum(entry.cost for entry in found) == spent(store).used


def test_a_call_whose_worker_died_is_charged_in_full_and_does_not_hold_its_reservation(store, redis_url):
    lost, open_ = leaving(), leaving()
    reserve(store, lost, 300_000, ttl_s=0.05)
    reserve(store, open_, 200_000)
    time.sleep(0.1)  # what ends a reservation is the clock of Redis
    assert (spent(store).used, spent(store).reserved) == (300_000, 200_000)
    [entry] = entries(store)
    assert (entry.leaving.id, entry.outcome, entry.cost) == (lost.id, "lost", 300_000)
    assert not store.run(spending.settle(lost.id, "ok", 5))
    assert spent(store).used == 300_000
    with redis.Redis.from_url(redis_url) as admin:
        assert admin.zrange(f"{PREFIX}reservations", 0, -1) == [open_.id.encode()]


@pytest.mark.parametrize("period", ["hour", "day", "month"])
def test_a_period_begins_where_the_calendar_says(store, period):
    policy = TenantPolicy(budget=1.0, period=period)
    now = datetime.datetime.now(datetime.UTC)
    start = now.replace(minute=0, second=0, microsecond=0)
    start = start if period == "hour" else start.replace(hour=0)
    start = start.replace(day=1) if period == "month" else start
    assert spent(store, policy).period_ms == int(start.timestamp() * 1000)


def test_the_beginnings_of_months_are_those_of_the_calendar(store):
    script = (resources.files("triptych.core") / "lua" / "_spending.lua").read_text()
    starts = [
        datetime.datetime(year, month, 1, tzinfo=datetime.UTC) for year in range(1999, 2101) for month in range(1, 13)
    ]
    times = [int(start.timestamp() * 1000) for start in starts]
    late = [time + (27 * 24 + 23) * 3_600_000 for time in times]
    said = store.redis.eval(
        script + """
        local found = {}
        for i, at in ipairs(ARGV) do found[i] = period_start(tonumber(at), 'month') end
        return found""",
        0, *times, *late,
    )  # fmt: skip
    assert list(map(int, said)) == times * 2


def test_entries_come_newest_first_in_pages(store):
    made = [leaving(job_id=f"j{number}") for number in range(5)]
    for facts in made:
        reserve(store, facts, 1)
        store.run(spending.settle(facts.id, "ok", 1))
    first = store.run(spending.list_page("acme", after="", limit=3))
    rest = store.run(spending.list_page("acme", after=first[-1].place, limit=3))
    assert [entry.leaving.job_id for entry in (*first, *rest)] == ["j4", "j3", "j2", "j1", "j0"]
    assert entries(store, "other") == []


def test_the_ledger_forgets_what_is_older_than_it_is_kept(store):
    old, new = leaving(), leaving()
    store.run(spending.reserve(old, 1, POLICY, ttl_s=60, kept_s=0.05))
    store.run(spending.settle(old.id, "ok", 1))
    time.sleep(0.1)  # Redis' own clock ends it
    reserve(store, new, 1)
    store.run(spending.settle(new.id, "ok", 1))
    assert [entry.leaving.id for entry in entries(store)] == [new.id]
