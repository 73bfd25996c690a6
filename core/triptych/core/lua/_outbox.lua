-- Messages to webhooks that wait: `outbox:<host>` orders a host's deliveries by their next attempt and `outbox` the hosts
-- by their first, so that a host that answers slowly is passed by.

-- Sets the time of a delivery's next attempt; without a time there is none.
local function set_due(prefix, host, id, at)
  local queue = prefix .. 'outbox:' .. host
  if at then redis.call('ZADD', queue, at, id) else redis.call('ZREM', queue, id) end
  local first = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
  if first[1] then
    redis.call('ZADD', prefix .. 'outbox', first[2], host)
  else
    redis.call('ZREM', prefix .. 'outbox', host)
  end
end

-- Writes the message about a job that just ended, if somebody is to be told. It outlives the job, so it holds all that
-- JOB_VIEW_BASIC shows, and the documents by which a purge finds it.
local function leave_message(prefix, id)
  local job, delivery = prefix .. 'job:' .. id, prefix .. 'delivery:' .. id
  local url = redis.call('HGET', job, 'webhook')
  if not url or url == '' then return end
  for _, field in ipairs(redis.call('HKEYS', job)) do
    if field ~= 'spec' and field ~= 'options' and field ~= 'result' then
      redis.call('HSET', delivery, field, redis.call('HGET', job, field))
    end
  end
  local host = string.lower(string.match(url, '://([^/?]+)') or '')
  local found = redis.call('HMGET', job, 'tenant', 'end_ms')
  redis.call('HSET', delivery, 'host', host, 'attempts', 0, 'series', 0)
  redis.call('ZADD', prefix .. 'deliveries:' .. found[1], 0, found[2] .. ' ' .. id)
  set_due(prefix, host, id, found[2])
end

-- Gives a delivery as field, value, ...: its id, the time of its next attempt, if there is one, and what is written.
local function read_delivery(prefix, id)
  local delivery = prefix .. 'delivery:' .. id
  local next_ms = redis.call('ZSCORE', prefix .. 'outbox:' .. redis.call('HGET', delivery, 'host'), id)
  return {'id', id, 'next_ms', next_ms or '', unpack(redis.call('HGETALL', delivery))}
end

-- Removes a delivery: it was taken, dropped, or dead for long enough.
local function forget_delivery(prefix, id)
  local delivery = prefix .. 'delivery:' .. id
  local found = redis.call('HMGET', delivery, 'host', 'tenant', 'end_ms')
  set_due(prefix, found[1], id)
  redis.call('ZREM', prefix .. 'dead_deliveries', id)
  redis.call('ZREM', prefix .. 'deliveries:' .. found[2], found[3] .. ' ' .. id)
  redis.call('DEL', delivery)
end
