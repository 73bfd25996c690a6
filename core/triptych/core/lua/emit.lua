-- Appends an event of the attempt that holds the lease. ARGV: prefix, id, attempt, event, progress, kept.
-- Gives 1, or 0 if the attempt lost its lease or the job is being cancelled.
local prefix, id = ARGV[1], ARGV[2]
local job = prefix .. 'job:' .. id
local found = redis.call('HMGET', job, 'state', 'attempt')
if found[1] ~= '2' or found[2] ~= ARGV[3] then return 0 end
if ARGV[5] ~= '' then redis.call('HSET', job, 'progress', ARGV[5]) end
redis.call('XADD', prefix .. 'events:' .. id, 'MAXLEN', '~', ARGV[6], '*', 'attempt', ARGV[3], 'event', ARGV[4])
redis.call('PUBLISH', prefix .. 'wake:' .. id, '')
return 1
