-- Asks for cancellation. ARGV: prefix, id, tenant ("*": any), error, 1 if its caller is gone.
-- Gives {state after, child id, ...} or {} if there is no such job.
local prefix, id, now = ARGV[1], ARGV[2], now_ms()
local job = prefix .. 'job:' .. id
local found = redis.call('HMGET', job, 'state', 'tenant', 'attempt', 'request_id')
if not found[1] or (ARGV[3] ~= '*' and found[2] ~= ARGV[3]) then return {} end
local state = tonumber(found[1])
if ARGV[5] == '1' and state < 3 then
  -- Who lost the connection calls again, and never asked for a cancellation: that begins another job.
  local request = prefix .. 'request:' .. found[2] .. ':' .. found[4]
  if redis.call('HGET', request, 'id') == id then redis.call('DEL', request) end
  redis.call('HSET', job, 'abandoned', 1)
end
if state == 1 then
  finish(prefix, id, 6, 'error', ARGV[4])
  state = 6
elseif state == 2 then
  state = 3
  redis.call('HSET', job, 'state', 3, 'update_ms', now, 'cancel_ms', now)
  redis.call('XADD', prefix .. 'events:' .. id, '*', 'attempt', found[3], 'state', 3)
  redis.call('PUBLISH', prefix .. 'wake:' .. id, '')
end
local answer = redis.call('SMEMBERS', prefix .. 'children:' .. id)
table.insert(answer, 1, state)
return answer
