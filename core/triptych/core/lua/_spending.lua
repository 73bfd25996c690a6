-- Money for models outside, in millionths. `reservation:<id>` is a call that may cost so much until it is settled;
-- `budget:<tenant>:<period>:<start>` has the sums; `ledger:<tenant>` has an entry for each call that ended.

-- The beginning of the hour, day or month (UTC) that holds a time, as text.
local function period_start(now, period)
  local day = 86400000
  local start = now - now % (period == 'hour' and 3600000 or day)
  if period == 'month' then
    -- Civil date from days, http://howardhinnant.github.io/date_algorithms.html
    local doe = (math.floor(now / day) + 719468) % 146097
    local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
    local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
    local month = math.floor((5 * doy + 2) / 153)
    start = start - (doy - math.floor((153 * month + 2) / 5)) * day
  end
  return string.format('%.0f', start)
end

local function budget_key(prefix, tenant, period, start)
  return prefix .. 'budget:' .. tenant .. ':' .. period .. ':' .. start
end

local function sums(budget)
  local found = redis.call('HMGET', budget, 'used', 'reserved')
  return tonumber(found[1] or 0), tonumber(found[2] or 0)
end

-- Ends a reservation: the sums change and the ledger gets its entry, or neither. 0: it has ended before.
local function settle_reservation(prefix, id, now, outcome, cost, ...)
  local key = prefix .. 'reservation:' .. id
  local facts = redis.call('HGETALL', key)
  if #facts == 0 then return 0 end
  local found = redis.call('HMGET', key, 'tenant', 'period', 'period_ms', 'reserved', 'kept_ms')
  local budget = budget_key(prefix, found[1], found[2], found[3])
  redis.call('HINCRBY', budget, 'reserved', string.format('%.0f', 0 - found[4]))
  redis.call('HINCRBY', budget, 'used', cost)
  local ledger = prefix .. 'ledger:' .. found[1]
  local oldest = string.format('%.0f', math.max(0, now - found[5]))
  local extra = {...}
  for i = 1, #extra do table.insert(facts, extra[i]) end
  redis.call('XADD', ledger, 'MINID', oldest, '*', 'outcome', outcome, 'cost', cost, 'end_ms',
    string.format('%.0f', now), unpack(facts))
  redis.call('PEXPIRE', ledger, found[5])
  redis.call('DEL', key)
  redis.call('ZREM', prefix .. 'reservations', id)
  return 1
end

-- Ends the reservations that nobody settled in time: their workers died, or could not reach us. The bytes may have left
-- and the server may have counted them, so each is charged in full.
local function end_lost(prefix, now)
  for _, id in ipairs(redis.call('ZRANGE', prefix .. 'reservations', '-inf', now, 'BYSCORE', 'LIMIT', 0, 100)) do
    local reserved = redis.call('HGET', prefix .. 'reservation:' .. id, 'reserved')
    if reserved then settle_reservation(prefix, id, now, 'lost', reserved) end
    redis.call('ZREM', prefix .. 'reservations', id)
  end
end
