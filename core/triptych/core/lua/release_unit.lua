-- Frees a unit that its holder could not compute. ARGV: prefix, tenant, work, id, attempt, unit.
local units = ARGV[1] .. 'units:' .. ARGV[2] .. ':' .. ARGV[3]
if redis.call('HGET', units, ARGV[6]) ~= ARGV[4] .. ':' .. ARGV[5] then return 0 end
return redis.call('HDEL', units, ARGV[6])
