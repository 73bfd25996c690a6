-- Jobs of a tenant that read a document, or whose parent did. ARGV: prefix, tenant, digest ("": any), offset, limit.
-- Gives {number of ids looked at, id, state, ...}.
local prefix = ARGV[1]
local ids = redis.call('ZRANGE', prefix .. 'jobs:' .. ARGV[2], ARGV[4], ARGV[4] + ARGV[5] - 1)
local answer = {#ids}
for _, id in ipairs(ids) do
  local found = redis.call('HMGET', prefix .. 'job:' .. id, 'state', 'documents')
  if found[1] and string.find(found[2] or '', ARGV[3], 1, true) then
    table.insert(answer, id)
    table.insert(answer, found[1])
  end
end
return answer
