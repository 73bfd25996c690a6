-- Asks for cancellation. ARGV: prefix, id, tenant ("*": any), error.
-- Gives {state after, child id, ...} or {} if there is no such job.
local prefix, id = ARGV[1], ARGV[2]
local job = prefix .. 'job:' .. id
local found = redis.call('HMGET', job, 'state', 'tenant', 'attempt')
if not found[1] or (ARGV[3] ~= '*' and found[2] ~= ARGV[3]) then return {} end
local state = tonumber(found[1])
if state == 1 then
  finish(prefix, id, 6, 'error', ARGV[4])
  state = 6
elseif state == 2 then
  state = 3
  redis.call('HSET', job, 'state', 3, 'update_ms', now_ms())
  redis.call('XADD', prefix .. 'events:' .. id, '*', 'attempt', found[3], 'state', 3)
  redis.call('PUBLISH', prefix .. 'wake:' .. id, '')
end
local answer = redis.call('SMEMBERS', prefix .. 'children:' .. id)
table.insert(answer, 1, state)
return answer
