-- Says that an attempt has units in hand: should its worker die, they are to blame. ARGV: prefix, id, attempt, unit, ...
-- Gives 1, or 0 if fenced off.
local prefix, id = ARGV[1], ARGV[2]
local found = redis.call('HMGET', prefix .. 'job:' .. id, 'state', 'attempt')
if found[1] ~= '2' or found[2] ~= ARGV[3] then return 0 end
for i = 4, #ARGV do redis.call('HSET', prefix .. 'begun:' .. id, ARGV[i], ARGV[3]) end
return 1
