-- Renews a lease. ARGV: prefix, id, attempt, lease_ms. Gives "ok", "cancel" or "lost".
local prefix, id = ARGV[1], ARGV[2]
local found = redis.call('HMGET', prefix .. 'job:' .. id, 'state', 'attempt')
if found[2] ~= ARGV[3] or (found[1] ~= '2' and found[1] ~= '3') then return 'lost' end
redis.call('ZADD', prefix .. 'leases', now_ms() + ARGV[4], id)
if found[1] == '3' then return 'cancel' end
return 'ok'
