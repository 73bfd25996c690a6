-- Makes a computed unit known. ARGV: prefix, tenant, work, id, attempt, ttl_ms, unit, blob.
-- Gives 1, or 0 if the attempt does not run any more: its job may have been purged.
local found = redis.call('HMGET', ARGV[1] .. 'job:' .. ARGV[4], 'state', 'attempt')
if found[1] ~= '2' or found[2] ~= ARGV[5] then return 0 end
local units = ARGV[1] .. 'units:' .. ARGV[2] .. ':' .. ARGV[3]
redis.call('HSET', units, ARGV[7], ARGV[8])
redis.call('PEXPIRE', units, ARGV[6])
return 1
