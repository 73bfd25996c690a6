-- Appends an event of the attempt that holds the lease. ARGV: prefix, id, attempt, event, progress, kept, token.
-- Gives 1, or 0 if the attempt lost its lease or the job is being cancelled.
local prefix, id = ARGV[1], ARGV[2]
local job = prefix .. 'job:' .. id
local found = redis.call('HMGET', job, 'state', 'attempt', 'told')
if found[1] ~= '2' or found[2] ~= ARGV[3] then return 0 end
-- A client library may send the script again after a lost reply.
if found[3] == ARGV[7] then return 1 end
redis.call('HSET', job, 'told', ARGV[7])
if ARGV[5] ~= '' then redis.call('HSET', job, 'progress', ARGV[5]) end
redis.call('XADD', prefix .. 'events:' .. id, 'MAXLEN', '~', ARGV[6], '*', 'attempt', ARGV[3], 'event', ARGV[4])
redis.call('PUBLISH', prefix .. 'wake:' .. id, '')
return 1
