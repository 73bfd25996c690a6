-- Some of a tenant's deliveries, newest first. ARGV: prefix, tenant, place to go on after or "", limit.
-- Gives {delivery, ...}.
local answer, after = {}, ARGV[3] == '' and '+' or '(' .. ARGV[3]
local index = ARGV[1] .. 'deliveries:' .. ARGV[2]
for _, place in ipairs(redis.call('ZRANGE', index, after, '-', 'BYLEX', 'REV', 'LIMIT', 0, ARGV[4])) do
  table.insert(answer, read_delivery(ARGV[1], string.match(place, '%S+$')))
end
return answer
