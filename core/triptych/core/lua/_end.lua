-- The one place where a job becomes terminal. `ttl_ms` after now everything about it is gone.
local function finish(prefix, id, state, field, value)
  local job, now = prefix .. 'job:' .. id, now_ms()
  local found = redis.call('HMGET', job, 'kind', 'lane', 'ttl_ms', 'attempt', 'tenant', 'set_aside', 'claim')
  local ttl = tonumber(found[3])
  redis.call('HSET', job, 'state', state, 'update_ms', now, 'end_ms', now, 'expire_ms', now + ttl)
  if field ~= '' then redis.call('HSET', job, field, value) end
  redis.call('ZREM', prefix .. 'leases', id)
  redis.call('SREM', prefix .. 'running:' .. found[1] .. ':' .. found[2], id)
  unqueue(prefix, id, found[1], found[2], found[5])
  redis.call('ZADD', prefix .. 'expiring', now + ttl, id .. ' ' .. found[5])
  if found[6] and found[6] ~= '' then redis.call('ZADD', prefix .. 'dead:' .. found[5], now, id) end
  redis.call('DEL', prefix .. 'parts:' .. id, prefix .. 'begun:' .. id, prefix .. 'blame:' .. id,
    prefix .. 'claim:' .. (found[7] or ''))
  redis.call('XADD', prefix .. 'events:' .. id, '*', 'attempt', found[4], 'state', state)
  for _, key in ipairs({'job:', 'events:', 'children:'}) do redis.call('PEXPIRE', prefix .. key .. id, ttl) end
  redis.call('PUBLISH', prefix .. 'wake:' .. id, '')
  leave_message(prefix, id)
end
