-- A worker takes itself off the list. ARGV: prefix, kind, worker.
local key = ARGV[1] .. 'workers:' .. ARGV[2]
for _, entry in ipairs(redis.call('ZRANGE', key, 0, -1)) do
  if string.sub(entry, 1, #ARGV[3] + 1) == ARGV[3] .. ' ' then redis.call('ZREM', key, entry) end
end
return 1
