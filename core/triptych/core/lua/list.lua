-- One page of a tenant's jobs, newest first. ARGV: prefix, tenant, max_create_ms, min_create_ms, offset, limit,
-- field, ... to give. Gives {number of ids looked at, id, {values}, ...}; expired ones are left out.
local prefix, tenant = ARGV[1], ARGV[2]
local index = prefix .. 'jobs:' .. tenant
local ids = redis.call('ZRANGE', index, '(' .. ARGV[3], ARGV[4], 'BYSCORE', 'REV', 'LIMIT', ARGV[5], ARGV[6])
local answer = {#ids}
for _, id in ipairs(ids) do
  if redis.call('EXISTS', prefix .. 'job:' .. id) == 1 then
    table.insert(answer, id)
    table.insert(answer, redis.call('HMGET', prefix .. 'job:' .. id, unpack(ARGV, 7)))
  end
end
return answer
