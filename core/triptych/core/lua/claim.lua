-- Takes a pending job for one worker: a lease with a fencing token, which is the attempt's number.
-- ARGV: prefix, id, lease_ms, worker, error_cancelled.
-- Gives {"claimed", field, value, ...} or {"gone"} or {"busy", state} or {"late"} (over its queue deadline)
-- or {"orphan"} (its parent ended, so that it is cancelled).
local prefix, id, now = ARGV[1], ARGV[2], now_ms()
local job = prefix .. 'job:' .. id
local found = redis.call('HMGET', job, 'state', 'kind', 'lane', 'queue_deadline_ms', 'parent', 'start_ms',
  'published_ms')
if not found[1] then return {'gone'} end
if found[1] ~= '1' then return {'busy', found[1]} end
if not found[6] and tonumber(found[4]) < now then return {'late'} end
if found[5] ~= '' then
  local parent = redis.call('HGET', prefix .. 'job:' .. found[5], 'state')
  if parent ~= '1' and parent ~= '2' then
    finish(prefix, id, 6, 'error', ARGV[5])
    return {'orphan'}
  end
end
-- What the sweeper knows lost messages by: a lane is first in, first out, and the lanes before it were empty.
local served = prefix .. 'served:' .. found[2]
if tonumber(found[7]) > tonumber(redis.call('HGET', served, found[3]) or 0) then
  redis.call('HSET', served, found[3], found[7])
end
for lane = 0, found[3] - 1 do redis.call('HSET', served, lane, now) end
redis.call('ZREM', prefix .. 'pending:' .. found[2] .. ':' .. found[3], id)
redis.call('ZREM', prefix .. 'queue_deadlines', id)
local attempt = redis.call('HINCRBY', job, 'attempt', 1)
redis.call('HSET', job, 'state', 2, 'update_ms', now, 'worker', ARGV[4])
redis.call('HSETNX', job, 'start_ms', now)
redis.call('HDEL', job, 'progress')
redis.call('ZADD', prefix .. 'leases', now + ARGV[3], id)
redis.call('SADD', prefix .. 'running:' .. found[2] .. ':' .. found[3], id)
redis.call('XADD', prefix .. 'events:' .. id, '*', 'attempt', attempt, 'state', 2)
redis.call('PUBLISH', prefix .. 'wake:' .. id, '')
local record = redis.call('HGETALL', job)
table.insert(record, 1, 'claimed')
return record
