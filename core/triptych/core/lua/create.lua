-- Writes a job record, unless its request_id is known or its lane is full.
-- ARGV: prefix, id, tenant, kind, lane, request_id, request_digest, request_ttl_s, max_pending, parent,
--       queue_timeout_ms, call_timeout_ms (0: none), weight, then field, value, ... of the record.
-- Gives {"created" | "joined" | "reused" | "orphan", id} or {"full", number waiting, ms until a place is free}.
local prefix, id, tenant, kind, lane = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local now, request, digest = now_ms(), ARGV[6], ARGV[7]
local call_deadline = ARGV[12] == '0' and 0 or now + ARGV[12]
local request_key = prefix .. 'request:' .. tenant .. ':' .. request
if request ~= '' then
  local known = redis.call('HMGET', request_key, 'digest', 'id')
  local job = prefix .. 'job:' .. (known[2] or '')
  if known[1] and redis.call('EXISTS', job) == 1 then
    if known[1] ~= digest then return {'reused', known[2]} end
    -- The job has as long as the most patient of its callers.
    local before = tonumber(redis.call('HGET', job, 'call_deadline_ms'))
    if before > 0 and (call_deadline == 0 or call_deadline > before) then
      redis.call('HSET', job, 'call_deadline_ms', call_deadline)
    end
    return {'joined', known[2]}
  end
end
-- A client library may send the script again after a lost reply.
if redis.call('EXISTS', prefix .. 'job:' .. id) == 1 then return {'created', id} end
-- A child that comes after its parent was stopped would be nobody's.
if ARGV[10] ~= '' and redis.call('HGET', prefix .. 'job:' .. ARGV[10], 'state') ~= '2' then
  return {'orphan', ARGV[10]}
end
-- Who was told to come back about now goes before newcomers: a few places are kept for those who have not come yet.
local KEPT_MS, LATE_MS, MOST_MS, MOST_CALLERS = 2000, 60000, 300000, 10000
local place, max_pending = kind .. ':' .. lane, tonumber(ARGV[9])
local told, caller = prefix .. 'told:' .. place, redis.sha1hex(tenant .. ' ' .. (request ~= '' and request or id))
local told_ms, room = tonumber(redis.call('ZSCORE', told, caller) or 0), max_pending
if told_ms == 0 or told_ms > now then
  room = room - math.min(redis.call('ZCOUNT', told, now - KEPT_MS, now + KEPT_MS), max_pending / 4)
end
-- A tenant may fill a lane alone, but each other one keeps its share of places beyond: nobody is locked out.
local waiting = redis.call('ZCARD', prefix .. 'pending:' .. place)
if waiting >= room then
  local own, others = tonumber(ARGV[13]), 0
  local weights = redis.call('HGETALL', prefix .. 'weights:' .. place)
  for i = 1, #weights, 2 do if weights[i] ~= tenant then others = others + weights[i + 1] end end
  local mine = redis.call('ZCARD', prefix .. 'waiting:' .. place .. ':' .. tenant)
  if others == 0 or mine >= room * own / (own + others) then
    if told_ms > now then return {'full', waiting, told_ms - now} end
    -- Who is refused is told a time of its own: when a place was free for each of those who were told one before.
    redis.call('ZREMRANGEBYSCORE', told, '-inf', now - LATE_MS)
    local gap, expected = 1000 / math.max(drain_rate(prefix, place, now), 1 / 30), redis.call('ZCOUNT', told, now, '+inf')
    told_ms = now + math.floor(math.min((expected + 1) * gap, MOST_MS))
    if redis.call('ZCARD', told) < MOST_CALLERS then
      redis.call('ZADD', told, told_ms, caller)
      redis.call('PEXPIRE', told, MOST_MS + LATE_MS)
    end
    return {'full', waiting, told_ms - now}
  end
end
local late = now + ARGV[11]
local due = call_deadline > 0 and math.min(call_deadline, late) or late
redis.call('HSET', prefix .. 'job:' .. id, 'tenant', tenant, 'kind', kind, 'lane', lane, 'state', 1, 'attempt', 0,
  'lost', 0, 'create_ms', now, 'update_ms', now, 'parent', ARGV[10], 'queue_timeout_ms', ARGV[11],
  'queue_deadline_ms', late, 'call_deadline_ms', call_deadline, 'due_ms', due, 'weight', ARGV[13], unpack(ARGV, 14))
enqueue(prefix, id, kind, lane, tenant, due, now, ARGV[13])
redis.call('ZADD', prefix .. 'jobs:' .. tenant, now, id)
redis.call('ZREM', told, caller)
if ARGV[10] ~= '' then redis.call('SADD', prefix .. 'children:' .. ARGV[10], id) end
if request ~= '' then
  redis.call('HSET', request_key, 'digest', digest, 'id', id)
  redis.call('EXPIRE', request_key, ARGV[8])
end
redis.call('XADD', prefix .. 'events:' .. id, '*', 'attempt', 0, 'state', 1)
return {'created', id}
