-- Finds what fell through: lost workers, jobs over their deadlines, jobs that expired. One sweeper at a time is elected.
-- ARGV: prefix, sweeper, term_ms, lease_ms, max_unexplained, limit, error_lost, error_late, error_call, error_cancelled,
--       then kinds.
-- Gives {0} if another one is elected, else {1, waiting jobs of each kind ..., kind, id, ... of jobs that went back}.
local prefix, now, limit, kinds = ARGV[1], now_ms(), tonumber(ARGV[6]), {unpack(ARGV, 11)}
local elected = redis.call('GET', prefix .. 'sweeper')
if elected and elected ~= ARGV[2] then return {0} end
redis.call('SET', prefix .. 'sweeper', ARGV[2], 'PX', ARGV[3])

-- If nobody swept for a while, nobody may have been able to renew either (this server was away, or everything was down):
-- leases are left alone until their holders had time to speak.
local state = prefix .. 'sweeping'
local found = redis.call('HMGET', state, 'last_ms', 'quiet_until_ms')
local quiet_until = tonumber(found[2] or 0)
local silence = math.max(2000, math.min(5000, ARGV[4] / 2))
if now - tonumber(found[1] or 0) > silence then
  quiet_until = now + ARGV[4]
  redis.call('HSET', state, 'heard_ms', found[1] or now)
end
redis.call('HSET', state, 'last_ms', now, 'quiet_until_ms', quiet_until)

local back = {}
-- The units that were in hand when a worker died are to blame for it. A death that no unit explains counts against the
-- job, until it gets on.
local function lost(id)
  local job, explained = prefix .. 'job:' .. id, false
  for _, unit in ipairs(redis.call('HKEYS', prefix .. 'begun:' .. id)) do
    redis.call('HINCRBY', prefix .. 'blame:' .. id, unit, 1)
    explained = true
  end
  local about = redis.call('HMGET', job, 'progressed', 'lost', 'kind')
  local unexplained = (explained or about[1] == '1') and 0 or about[2] + 1
  redis.call('HSET', job, 'lost', unexplained)
  if unexplained >= tonumber(ARGV[5]) then
    redis.call('HSET', job, 'set_aside', 'job')
    finish(prefix, id, 5, 'error', ARGV[7])
  else
    requeue(prefix, id)
    table.insert(back, about[3])
    table.insert(back, id)
  end
end

local over = now < quiet_until and {}
  or redis.call('ZRANGE', prefix .. 'leases', '-inf', now, 'BYSCORE', 'LIMIT', 0, limit)
for _, id in ipairs(over) do
  local running = redis.call('HGET', prefix .. 'job:' .. id, 'state')
  if running == '3' then
    finish(prefix, id, 6, 'error', ARGV[10])
  elseif running == '2' then
    lost(id)
  else
    redis.call('ZREM', prefix .. 'leases', id)
  end
end

for _, id in ipairs(redis.call('ZRANGE', prefix .. 'deadlines', '-inf', now, 'BYSCORE', 'LIMIT', 0, limit)) do
  local about = redis.call('HMGET', prefix .. 'job:' .. id, 'state', 'queue_deadline_ms', 'call_deadline_ms')
  if about[1] ~= '1' then
    redis.call('ZREM', prefix .. 'deadlines', id)
  elseif tonumber(about[2]) <= now then
    finish(prefix, id, 5, 'error', ARGV[8])
  elseif tonumber(about[3]) > 0 and tonumber(about[3]) <= now then
    finish(prefix, id, 5, 'error', ARGV[9])
  else
    -- A caller with more patience joined.
    local call = tonumber(about[3])
    redis.call('ZADD', prefix .. 'deadlines', call > 0 and math.min(call, about[2]) or about[2], id)
  end
end

-- The indexes of a tenant's jobs forget those that have expired.
for _, entry in ipairs(redis.call('ZRANGE', prefix .. 'expiring', '-inf', now, 'BYSCORE', 'LIMIT', 0, 10 * limit)) do
  local id, tenant = string.match(entry, '^(%S+) (.*)$')
  redis.call('ZREM', prefix .. 'jobs:' .. tenant, id)
  redis.call('ZREM', prefix .. 'dead:' .. tenant, id)
  redis.call('ZREM', prefix .. 'expiring', entry)
end

local answer = {1}
for _, kind in ipairs(kinds) do
  local waiting = 0
  for lane = 0, 2 do waiting = waiting + redis.call('ZCARD', prefix .. 'pending:' .. kind .. ':' .. lane) end
  table.insert(answer, waiting)
end
for _, part in ipairs(back) do table.insert(answer, part) end
return answer
