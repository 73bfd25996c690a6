-- Takes deliveries that are due, each for a while. ARGV: prefix, lease_ms, limit, per_host, then host, busy, ...: what the
-- caller has in hand already. Gives {number of dead letters, delivery, ...}.
local prefix, now, left, per_host = ARGV[1], now_ms(), tonumber(ARGV[3]), tonumber(ARGV[4])
local dead = prefix .. 'dead_deliveries'
for _, id in ipairs(redis.call('ZRANGE', dead, '-inf', now, 'BYSCORE', 'LIMIT', 0, 100)) do
  forget_delivery(prefix, id)
end
local busy, looks = {}, left
for i = 5, #ARGV, 2 do
  busy[ARGV[i]] = tonumber(ARGV[i + 1])
  looks = looks + 1
end
local answer = {redis.call('ZCARD', dead)}
for _, host in ipairs(redis.call('ZRANGE', prefix .. 'outbox', '-inf', now, 'BYSCORE', 'LIMIT', 0, looks)) do
  local room = math.min(left, per_host - (busy[host] or 0))
  if room > 0 then
    for _, id in ipairs(redis.call('ZRANGE', prefix .. 'outbox:' .. host, '-inf', now, 'BYSCORE', 'LIMIT', 0, room)) do
      redis.call('HINCRBY', prefix .. 'delivery:' .. id, 'attempts', 1)
      redis.call('HINCRBY', prefix .. 'delivery:' .. id, 'series', 1)
      set_due(prefix, host, id, now + ARGV[2])
      table.insert(answer, read_delivery(prefix, id))
      left = left - 1
    end
  end
end
return answer
