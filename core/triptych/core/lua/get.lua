-- Gives one job's record as field, value, ...; of a waiting one also how many are ahead of it, roughly: its tenant's
-- jobs that are due before, as many of each other tenant in its lane, and all of the lanes before. ARGV: prefix, id.
local prefix, id = ARGV[1], ARGV[2]
local record = redis.call('HGETALL', prefix .. 'job:' .. id)
local found = redis.call('HMGET', prefix .. 'job:' .. id, 'state', 'kind', 'lane', 'tenant')
if found[1] ~= '1' then return record end
local place = found[2] .. ':' .. found[3]
local own = prefix .. 'waiting:' .. place .. ':' .. found[4]
local before, ahead = redis.call('ZRANK', own, id) or 0, 0
for lane = 0, found[3] - 1 do ahead = ahead + redis.call('ZCARD', prefix .. 'pending:' .. found[2] .. ':' .. lane) end
local others = redis.call('ZCARD', prefix .. 'pending:' .. place) - redis.call('ZCARD', own)
local tenants = redis.call('ZCARD', prefix .. 'turns:' .. place) - 1
table.insert(record, 'queue_position')
table.insert(record, tostring(ahead + before + math.min(others, tenants * (before + 1))))
return record
