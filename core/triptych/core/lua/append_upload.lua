-- Adds bytes to an unfinished upload. ARGV: prefix, key, offset, data, ttl_s. Gives {size, 1 if written}.
local size = redis.call('STRLEN', ARGV[2])
if size ~= tonumber(ARGV[3]) then return {size, 0} end
redis.call('APPEND', ARGV[2], ARGV[4])
redis.call('EXPIRE', ARGV[2], ARGV[5])
return {size + #ARGV[4], 1}
