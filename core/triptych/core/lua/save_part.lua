-- Keeps a finished unit of a job for its next attempt. ARGV: prefix, id, attempt, unit, value. Gives 1, or 0 if fenced off.
local prefix, id = ARGV[1], ARGV[2]
local job = prefix .. 'job:' .. id
local found = redis.call('HMGET', job, 'state', 'attempt')
if found[1] ~= '2' or found[2] ~= ARGV[3] then return 0 end
redis.call('HSET', prefix .. 'parts:' .. id, ARGV[4], ARGV[5])
redis.call('HDEL', prefix .. 'begun:' .. id, ARGV[4])
redis.call('HSET', job, 'progressed', 1)
return 1
