-- Puts a running job back into its lane, where it was first accepted: it keeps its place. It may wait for a worker as
-- long as a new one may.
local function requeue(prefix, id)
  local job, now = prefix .. 'job:' .. id, now_ms()
  local found = redis.call('HMGET', job, 'kind', 'lane', 'attempt', 'create_ms', 'tenant', 'weight', 'queue_timeout_ms',
    'call_deadline_ms', 'due_ms', 'claim')
  local late, call = now + found[7], tonumber(found[8])
  redis.call('HSET', job, 'state', 1, 'update_ms', now, 'queue_deadline_ms', late)
  redis.call('ZREM', prefix .. 'leases', id)
  redis.call('SREM', prefix .. 'running:' .. found[1] .. ':' .. found[2], id)
  redis.call('DEL', prefix .. 'begun:' .. id, prefix .. 'claim:' .. (found[10] or ''))
  enqueue(prefix, id, found[1], found[2], found[5], found[9], found[4], found[6])
  -- Its order is that of before; when it is given up is counted anew.
  redis.call('ZADD', prefix .. 'deadlines', call > 0 and math.min(call, late) or late, id)
  redis.call('XADD', prefix .. 'events:' .. id, '*', 'attempt', found[3], 'state', 1)
  redis.call('PUBLISH', prefix .. 'wake:' .. id, '')
end
