-- Puts a running job back into its lane, where it was first accepted: it keeps its place.
local function requeue(prefix, id)
  local job, now = prefix .. 'job:' .. id, now_ms()
  local found = redis.call('HMGET', job, 'kind', 'lane', 'attempt', 'create_ms')
  redis.call('HSET', job, 'state', 1, 'update_ms', now, 'published_ms', now)
  redis.call('ZREM', prefix .. 'leases', id)
  redis.call('SREM', prefix .. 'running:' .. found[1] .. ':' .. found[2], id)
  redis.call('ZADD', prefix .. 'pending:' .. found[1] .. ':' .. found[2], found[4], id)
  redis.call('XADD', prefix .. 'events:' .. id, '*', 'attempt', found[3], 'state', 1)
  redis.call('PUBLISH', prefix .. 'wake:' .. id, '')
  return {found[1], found[2], id}
end
