-- Writes a job record, unless its request_id is known or its lane is full.
-- ARGV: prefix, id, tenant, kind, lane, request_id, request_digest, request_ttl_s, max_pending, parent,
--       queue_timeout_ms, then field, value, ... of the record.
-- Gives {"created" | "joined" | "reused" | "full" | "orphan", id or number waiting}.
local prefix, id, tenant, kind, lane = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local now, request, digest = now_ms(), ARGV[6], ARGV[7]
local request_key = prefix .. 'request:' .. tenant .. ':' .. request
if request ~= '' then
  local known = redis.call('HMGET', request_key, 'digest', 'id')
  if known[1] and redis.call('EXISTS', prefix .. 'job:' .. known[2]) == 1 then
    if known[1] ~= digest then return {'reused', known[2]} end
    return {'joined', known[2]}
  end
end
-- A client library may send the script again after a lost reply.
if redis.call('EXISTS', prefix .. 'job:' .. id) == 1 then return {'created', id} end
-- A child that comes after its parent was stopped would be nobody's.
if ARGV[10] ~= '' and redis.call('HGET', prefix .. 'job:' .. ARGV[10], 'state') ~= '2' then
  return {'orphan', ARGV[10]}
end
local pending = prefix .. 'pending:' .. kind .. ':' .. lane
local waiting = redis.call('ZCARD', pending)
if waiting >= tonumber(ARGV[9]) then return {'full', waiting} end
local job = prefix .. 'job:' .. id
redis.call('HSET', job, 'tenant', tenant, 'kind', kind, 'lane', lane, 'state', 1, 'attempt', 0, 'lost', 0,
  'create_ms', now, 'update_ms', now, 'parent', ARGV[10], 'queue_deadline_ms', now + ARGV[11], 'published_ms', now,
  unpack(ARGV, 12))
redis.call('ZADD', pending, now, id)
redis.call('ZADD', prefix .. 'queue_deadlines', now + ARGV[11], id)
redis.call('ZADD', prefix .. 'jobs:' .. tenant, now, id)
if ARGV[10] ~= '' then redis.call('SADD', prefix .. 'children:' .. ARGV[10], id) end
if request ~= '' then
  redis.call('HSET', request_key, 'digest', digest, 'id', id)
  redis.call('EXPIRE', request_key, ARGV[8])
end
redis.call('XADD', prefix .. 'events:' .. id, '*', 'attempt', 0, 'state', 1)
return {'created', id}
