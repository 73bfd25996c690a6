-- Takes a job that was retried, with its parts, off the dead letters; the jobs stay. ARGV: prefix, id, tenant.
local dead = ARGV[1] .. 'dead:' .. ARGV[3]
redis.call('ZREM', dead, ARGV[2])
for _, child in ipairs(redis.call('SMEMBERS', ARGV[1] .. 'children:' .. ARGV[2])) do redis.call('ZREM', dead, child) end
return 1
