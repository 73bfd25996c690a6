-- Hands a running job back (the worker drains). ARGV: prefix, id, attempt, error_cancelled.
-- Gives 1 if it waits again, 0 if there was nothing to hand back.
local prefix, id = ARGV[1], ARGV[2]
local found = redis.call('HMGET', prefix .. 'job:' .. id, 'state', 'attempt')
if found[2] ~= ARGV[3] then return 0 end
if found[1] == '3' then finish(prefix, id, 6, 'error', ARGV[4]) end
if found[1] ~= '2' then return 0 end
requeue(prefix, id)
return 1
