-- Takes the next job of a kind for one worker: a lease with a fencing token, which is the attempt's number.
-- ARGV: prefix, kind, worker, lease_ms, lowest lane that may be taken, error_late, error_call, error_cancelled, token,
--       tenants that may not be served, ...
-- Gives {"claimed", id, field, value, ...}, {"none"}, or {"held"}: jobs wait, but not for this worker now.
local prefix, kind, now = ARGV[1], ARGV[2], now_ms()
local AGED_MS, EVERY = 30000, 4
local held_back = {}
for i = 10, #ARGV do held_back[ARGV[i]] = true end

-- Lanes in order; but where jobs of a later one have waited long, it goes first every fourth time.
local function lanes()
  local found, oldest, oldest_ms = {}, nil, now - AGED_MS
  for lane = 0, 2 do
    local head = redis.call('ZRANGE', prefix .. 'pending:' .. kind .. ':' .. lane, 0, 0, 'WITHSCORES')
    if head[1] then
      table.insert(found, lane)
      if #found > 1 and tonumber(head[2]) < oldest_ms then oldest, oldest_ms = #found, tonumber(head[2]) end
    end
  end
  if oldest and redis.call('HINCRBY', prefix .. 'claims', kind, 1) % EVERY == 0 then
    table.insert(found, 1, table.remove(found, oldest))
  end
  return found
end

-- The tenant whose turn it is, and its job that is due first. Charges the tenant.
local function next_of(lane)
  local place = kind .. ':' .. lane
  local turns, from = prefix .. 'turns:' .. place, 0
  while true do
    local page = redis.call('ZRANGE', turns, from, from + 15, 'WITHSCORES')
    for i = 1, #page, 2 do
      local tenant, virtual = page[i], tonumber(page[i + 1])
      if not held_back[tenant] then
        local id = redis.call('ZRANGE', prefix .. 'waiting:' .. place .. ':' .. tenant, 0, 0)[1]
        local weight = tonumber(redis.call('HGET', prefix .. 'weights:' .. place, tenant) or 1)
        redis.call('ZADD', turns, virtual + 1 / weight, tenant)
        -- A tenant that is held back lets time pass for the others.
        local lane_key = prefix .. 'lane:' .. place
        local before = tonumber(redis.call('HGET', lane_key, 'virtual') or 0)
        redis.call('HSET', lane_key, 'virtual', math.max(before, virtual))
        redis.call('ZREMRANGEBYSCORE', prefix .. 'rests:' .. place, '-inf', virtual)
        unqueue(prefix, id, kind, lane, tenant)
        return id
      end
    end
    if #page < 32 then return nil end
    from = from + 16
  end
end

-- Ends a job that nobody may run any more.
local function over(id, job)
  if tonumber(job[2]) < now then finish(prefix, id, 5, 'error', ARGV[6]) return true end
  if tonumber(job[3]) > 0 and tonumber(job[3]) < now then finish(prefix, id, 5, 'error', ARGV[7]) return true end
  if job[4] == '' then return false end
  local parent = redis.call('HGET', prefix .. 'job:' .. job[4], 'state')
  if parent == '1' or parent == '2' then return false end
  finish(prefix, id, 6, 'error', ARGV[8])
  return true
end

-- Gives the job to the worker, for a lease from now.
local function given(id)
  local job = prefix .. 'job:' .. id
  redis.call('HSET', job, 'now_ms', now)
  redis.call('ZADD', prefix .. 'leases', now + ARGV[4], id)
  local record = redis.call('HGETALL', job)
  table.insert(record, 1, id)
  table.insert(record, 1, 'claimed')
  return record
end

local function take(id, lane)
  local job, place = prefix .. 'job:' .. id, kind .. ':' .. lane
  local attempt = redis.call('HINCRBY', job, 'attempt', 1)
  redis.call('HSET', job, 'state', 2, 'update_ms', now, 'worker', ARGV[3], 'claim', ARGV[9],
    'progressed', 0)
  redis.call('HSETNX', job, 'start_ms', now)
  redis.call('HDEL', job, 'progress')
  redis.call('SADD', prefix .. 'running:' .. place, id)
  redis.call('HSET', prefix .. 'lane:' .. place, 'rate', drain_rate(prefix, place, now) + 1 / 20, 'taken_ms', now)
  redis.call('XADD', prefix .. 'events:' .. id, '*', 'attempt', attempt, 'state', 2)
  redis.call('PUBLISH', prefix .. 'wake:' .. id, '')
  redis.call('SET', prefix .. 'claim:' .. ARGV[9], id, 'PX', math.max(1, ARGV[4]))
  return given(id)
end

-- This very claim may have taken a job before, and its answer was lost on the way.
local taken = redis.call('GET', prefix .. 'claim:' .. ARGV[9])
if taken then return given(taken) end
local answer = 'none'
for _, lane in ipairs(lanes()) do
  if lane > tonumber(ARGV[5]) then
    answer = 'held'
  else
    local id = next_of(lane)
    while id do
      local job = redis.call('HMGET', prefix .. 'job:' .. id, 'state', 'queue_deadline_ms', 'call_deadline_ms', 'parent')
      if job[1] == '1' and not over(id, job) then return take(id, lane) end
      id = next_of(lane)
    end
    if redis.call('EXISTS', prefix .. 'turns:' .. kind .. ':' .. lane) == 1 then answer = 'held' end
  end
end
return {answer}
