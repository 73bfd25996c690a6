-- A job's place in its lane: `pending` counts it and knows its age, `waiting` orders it among its tenant's jobs by the
-- time it is due, `turns` orders the tenants that have jobs waiting by virtual time (start-time fair queueing, Goyal et
-- al. 1996), `rests` remembers the finish tag of a tenant whose jobs were all taken: idling earns nothing and costs nothing.
local function enqueue(prefix, id, kind, lane, tenant, due, accepted, weight)
  local place = kind .. ':' .. lane
  redis.call('ZADD', prefix .. 'pending:' .. place, accepted, id)
  redis.call('ZADD', prefix .. 'waiting:' .. place .. ':' .. tenant, due, id)
  redis.call('ZADD', prefix .. 'deadlines', due, id)
  if redis.call('ZSCORE', prefix .. 'turns:' .. place, tenant) then return end
  local finished = tonumber(redis.call('ZSCORE', prefix .. 'rests:' .. place, tenant) or 0)
  local virtual = tonumber(redis.call('HGET', prefix .. 'lane:' .. place, 'virtual') or 0)
  redis.call('ZREM', prefix .. 'rests:' .. place, tenant)
  redis.call('ZADD', prefix .. 'turns:' .. place, math.max(finished, virtual), tenant)
  redis.call('HSET', prefix .. 'weights:' .. place, tenant, weight)
end

local function unqueue(prefix, id, kind, lane, tenant)
  local place = kind .. ':' .. lane
  local waiting = prefix .. 'waiting:' .. place .. ':' .. tenant
  redis.call('ZREM', prefix .. 'pending:' .. place, id)
  redis.call('ZREM', prefix .. 'deadlines', id)
  if redis.call('ZREM', waiting, id) == 0 or redis.call('EXISTS', waiting) == 1 then return end
  local finished = redis.call('ZSCORE', prefix .. 'turns:' .. place, tenant)
  redis.call('ZREM', prefix .. 'turns:' .. place, tenant)
  redis.call('HDEL', prefix .. 'weights:' .. place, tenant)
  if finished then redis.call('ZADD', prefix .. 'rests:' .. place, finished, tenant) end
end

-- Jobs that workers lately took from a lane, per second: a count that fades with a time constant of 20 s.
local function drain_rate(prefix, place, now)
  local found = redis.call('HMGET', prefix .. 'lane:' .. place, 'rate', 'taken_ms')
  if not found[1] then return 0 end
  return found[1] * math.exp((found[2] - now) / 20000)
end
