-- Makes a delivery due now, with a new series of attempts. ARGV: prefix, id, tenant. Gives it, or {} if there is none.
local prefix, id = ARGV[1], ARGV[2]
local delivery = prefix .. 'delivery:' .. id
local found = redis.call('HMGET', delivery, 'tenant', 'host')
if found[1] ~= ARGV[3] then return {} end
-- An attempt that is under way has an older series: what comes of it changes nothing.
redis.call('HSET', delivery, 'series', 0)
redis.call('HDEL', delivery, 'dead')
redis.call('ZREM', prefix .. 'dead_deliveries', id)
set_due(prefix, found[2], id, now_ms())
return read_delivery(prefix, id)
