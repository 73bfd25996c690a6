-- One page of a tenant's jobs, newest first. ARGV: prefix, index ("jobs" or "dead"), tenant, max_ms, min_ms, offset,
-- limit, field, ... to give. Gives {number of ids looked at, id, {values}, ...}; expired ones are left out.
local prefix, index = ARGV[1], ARGV[1] .. ARGV[2] .. ':' .. ARGV[3]
local ids = redis.call('ZRANGE', index, '(' .. ARGV[4], ARGV[5], 'BYSCORE', 'REV', 'LIMIT', ARGV[6], ARGV[7])
local answer = {#ids}
for _, id in ipairs(ids) do
  if redis.call('EXISTS', prefix .. 'job:' .. id) == 1 then
    table.insert(answer, id)
    table.insert(answer, redis.call('HMGET', prefix .. 'job:' .. id, unpack(ARGV, 8)))
  end
end
return answer
