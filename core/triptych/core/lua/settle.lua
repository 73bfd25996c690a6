-- Says that a unit is no longer in hand, however it ended. ARGV: prefix, id, attempt, unit, "1" if it is set aside.
-- Gives 1, or 0 if fenced off.
local prefix, id = ARGV[1], ARGV[2]
local job = prefix .. 'job:' .. id
local found = redis.call('HMGET', job, 'state', 'attempt', 'set_aside')
if found[1] ~= '2' or found[2] ~= ARGV[3] then return 0 end
redis.call('HDEL', prefix .. 'begun:' .. id, ARGV[4])
redis.call('HSET', job, 'progressed', 1)
if ARGV[5] == '1' then
  local before = found[3] or ''
  if not string.find(' ' .. before .. ' ', ' ' .. ARGV[4] .. ' ', 1, true) then
    redis.call('HSET', job, 'set_aside', before == '' and ARGV[4] or before .. ' ' .. ARGV[4])
  end
end
return 1
