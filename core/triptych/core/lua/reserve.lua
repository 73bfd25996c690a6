-- Sets money aside for one call, if the tenant's budget has it. ARGV: prefix, id, tenant, period, budget, amount, ttl_ms
-- (then it is lost), kept_ms (how long the ledger keeps it), field, value, ... for the ledger.
-- Gives {1 or 0, used, reserved}.
local prefix, id, tenant, period, now = ARGV[1], ARGV[2], ARGV[3], ARGV[4], now_ms()
end_lost(prefix, now)
local start = period_start(now, period)
local budget, key = budget_key(prefix, tenant, period, start), prefix .. 'reservation:' .. id
local used, reserved = sums(budget)
-- A client library may send the script again after a lost reply.
if redis.call('EXISTS', key) == 1 then return {1, used, reserved} end
local amount = tonumber(ARGV[6])
if amount > 0 and used + reserved + amount > tonumber(ARGV[5]) then return {0, used, reserved} end
redis.call('HINCRBY', budget, 'reserved', ARGV[6])
-- Longer than any period, and than a call that begins at its end.
redis.call('PEXPIRE', budget, math.max(ARGV[8], 40 * 86400000))
redis.call('HSET', key, 'id', id, 'tenant', tenant, 'period', period, 'period_ms', start, 'reserved', ARGV[6],
  'kept_ms', ARGV[8], 'begin_ms', string.format('%.0f', now), unpack(ARGV, 9))
redis.call('ZADD', prefix .. 'reservations', now + ARGV[7], id)
return {1, used, reserved + amount}
