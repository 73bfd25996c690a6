-- Load of all lanes. ARGV: prefix, kind, ... Gives per kind and lane: waiting, running, age of the oldest in ms, and how
-- many a second workers lately took from the kind's lanes.
local answer, now = {}, now_ms()
for i = 2, #ARGV do
  local rate = 0
  for lane = 0, 2 do rate = rate + drain_rate(ARGV[1], ARGV[i] .. ':' .. lane, now) end
  for lane = 0, 2 do
    local pending = ARGV[1] .. 'pending:' .. ARGV[i] .. ':' .. lane
    local oldest = redis.call('ZRANGE', pending, 0, 0, 'WITHSCORES')
    local age = 0
    if oldest[2] then age = now - tonumber(oldest[2]) end
    table.insert(answer, redis.call('ZCARD', pending))
    table.insert(answer, redis.call('SCARD', ARGV[1] .. 'running:' .. ARGV[i] .. ':' .. lane))
    table.insert(answer, age)
    table.insert(answer, tostring(rate))
  end
end
return answer
