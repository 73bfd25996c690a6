-- Keeps a finished part of a job for its next attempt. ARGV: prefix, id, attempt, key, value. Gives 1, or 0 if fenced off.
local prefix, id = ARGV[1], ARGV[2]
local found = redis.call('HMGET', prefix .. 'job:' .. id, 'state', 'attempt')
if found[1] ~= '2' or found[2] ~= ARGV[3] then return 0 end
redis.call('HSET', prefix .. 'parts:' .. id, ARGV[4], ARGV[5])
return 1
