-- Renews a lease. ARGV: prefix, id, attempt, lease_ms. Gives {"ok", ms until the caller's deadline, "" if it has none},
-- {"cancel", ms since it was asked for} or {"lost"}.
local prefix, id, now = ARGV[1], ARGV[2], now_ms()
local found = redis.call('HMGET', prefix .. 'job:' .. id, 'state', 'attempt', 'cancel_ms', 'call_deadline_ms')
if found[2] ~= ARGV[3] or (found[1] ~= '2' and found[1] ~= '3') then return {'lost'} end
redis.call('ZADD', prefix .. 'leases', now + ARGV[4], id)
if found[1] == '3' then return {'cancel', now - found[3]} end
return {'ok', found[4] == '0' and '' or found[4] - now}
