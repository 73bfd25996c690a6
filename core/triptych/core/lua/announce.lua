-- A worker says that it lives and which models it serves. ARGV: prefix, kind, worker, ttl_ms, model, ...
local key, now = ARGV[1] .. 'workers:' .. ARGV[2], now_ms()
redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
for i = 5, #ARGV do redis.call('ZADD', key, now + ARGV[4], ARGV[3] .. ' ' .. ARGV[i]) end
return 1
