-- Takes a pending job for one worker: a lease with a fencing token, which is the attempt's number.
-- ARGV: prefix, id, lease_ms, worker.
-- Gives {"claimed", field, value, ...} or {"gone"} or {"busy", state} or {"late"} (over its queue deadline).
local prefix, id, now = ARGV[1], ARGV[2], now_ms()
local job = prefix .. 'job:' .. id
local found = redis.call('HMGET', job, 'state', 'kind', 'lane', 'queue_deadline_ms', 'parent', 'start_ms')
if not found[1] then return {'gone'} end
if found[1] ~= '1' then return {'busy', found[1]} end
if not found[6] and tonumber(found[4]) < now then return {'late'} end
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
