-- Finds what fell through: lost workers, jobs over their queue deadline, messages that never arrived.
-- ARGV: prefix, max_lost, limit, error_lost, error_late, error_cancelled, stale_ms, then kind, queued messages, ...
-- Gives a flat list kind, lane, id, ... of the jobs to publish.
local prefix, now, limit = ARGV[1], now_ms(), tonumber(ARGV[3])
local publish = {}
local function again(entry) for _, part in ipairs(entry) do table.insert(publish, part) end end

for _, id in ipairs(redis.call('ZRANGE', prefix .. 'leases', '-inf', now, 'BYSCORE', 'LIMIT', 0, limit)) do
  local job = prefix .. 'job:' .. id
  local state = redis.call('HGET', job, 'state')
  if state == '3' then
    finish(prefix, id, 6, 'error', ARGV[6])
  elseif state == '2' then
    if redis.call('HINCRBY', job, 'lost', 1) >= tonumber(ARGV[2]) then
      finish(prefix, id, 5, 'error', ARGV[4])
    else
      again(requeue(prefix, id))
    end
  else
    redis.call('ZREM', prefix .. 'leases', id)
  end
end

for _, id in ipairs(redis.call('ZRANGE', prefix .. 'queue_deadlines', '-inf', now, 'BYSCORE', 'LIMIT', 0, limit)) do
  if redis.call('HGET', prefix .. 'job:' .. id, 'state') == '1' then
    finish(prefix, id, 5, 'error', ARGV[5])
  else
    redis.call('ZREM', prefix .. 'queue_deadlines', id)
  end
end

-- A job waits but its kind's queue is empty, or later messages were served before its own: that is with a worker, or it
-- is lost. A second message does no harm (the claim refuses it), and published_ms spaces them out.
for i = 8, #ARGV, 2 do
  for lane = 0, 2 do
    local served = ARGV[i + 1] == '0' and now or tonumber(redis.call('HGET', prefix .. 'served:' .. ARGV[i], lane) or 0)
    for _, id in ipairs(redis.call('ZRANGE', prefix .. 'pending:' .. ARGV[i] .. ':' .. lane, 0, limit - 1)) do
      local job = prefix .. 'job:' .. id
      local published = redis.call('HGET', job, 'published_ms')
      if not published then
        redis.call('ZREM', prefix .. 'pending:' .. ARGV[i] .. ':' .. lane, id)
      elseif served - tonumber(published) > tonumber(ARGV[7]) then
        redis.call('HSET', job, 'published_ms', now)
        again({ARGV[i], tostring(lane), id})
      end
    end
  end
end

-- The index of a tenant's jobs forgets those that have expired.
for _, entry in ipairs(redis.call('ZRANGE', prefix .. 'expiring', '-inf', now, 'BYSCORE', 'LIMIT', 0, 10 * limit)) do
  local id, tenant = string.match(entry, '^(%S+) (.*)$')
  redis.call('ZREM', prefix .. 'jobs:' .. tenant, id)
  redis.call('ZREM', prefix .. 'expiring', entry)
end
return publish
