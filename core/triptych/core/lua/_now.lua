-- The server's clock, in ms: leases and deadlines never compare the clocks of two machines.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
