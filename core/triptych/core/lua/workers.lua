-- Live workers of a kind. ARGV: prefix, kind. Gives "worker model" strings.
-- Who was there at the last sweep is there until the next one, and after a silence a while longer: while this server was
-- away nobody could say that he lives.
local swept = redis.call('HMGET', ARGV[1] .. 'sweeping', 'last_ms', 'quiet_until_ms', 'heard_ms')
local now = now_ms()
local since = now < tonumber(swept[2] or 0) and swept[3] or swept[1] or now
return redis.call('ZRANGE', ARGV[1] .. 'workers:' .. ARGV[2], since, '+inf', 'BYSCORE')
