-- Says what came of an attempt. ARGV: prefix, id, attempts, series, "taken" | "again" | "dead", ms until the next attempt
-- or until a dead letter is forgotten, error. Gives 1, or 0 if another attempt or a replay came meanwhile.
local prefix, id, now = ARGV[1], ARGV[2], now_ms()
local delivery = prefix .. 'delivery:' .. id
local found = redis.call('HMGET', delivery, 'attempts', 'series', 'host')
if found[1] ~= ARGV[3] or found[2] ~= ARGV[4] then return 0 end
if ARGV[5] == 'taken' then
  forget_delivery(prefix, id)
  return 1
end
redis.call('HSET', delivery, 'last_error', ARGV[7])
if ARGV[5] == 'again' then
  set_due(prefix, found[3], id, now + ARGV[6])
else
  set_due(prefix, found[3], id)
  redis.call('HSET', delivery, 'dead', 1)
  redis.call('ZADD', prefix .. 'dead_deliveries', now + ARGV[6], id)
end
return 1
