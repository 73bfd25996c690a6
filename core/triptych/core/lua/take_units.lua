-- Asks for units of a work, for an attempt that would compute those which nobody has, or only wants to know.
-- A holder counts as long as its job runs in that attempt and its lease lasts: nobody renews or cleans up anything. Nobody
-- waits for a slower lane.
-- ARGV: prefix, tenant, work, id, attempt, ttl_ms, note_ttl_ms, digests, "1" if what is nobody's becomes its own, then
-- per unit its name and the blob that was found missing ("": none).
-- Gives per unit the name of its blob, "own" or "elsewhere"; {} if the attempt does not run any more.
local prefix, now = ARGV[1], now_ms()
local units = prefix .. 'units:' .. ARGV[2] .. ':' .. ARGV[3]
local asking = redis.call('HMGET', prefix .. 'job:' .. ARGV[4], 'state', 'attempt', 'lane')
if asking[1] ~= '2' or asking[2] ~= ARGV[5] then return {} end

local function holds(holder)
  local id, attempt = string.match(holder, '^(.+):(%d+)$')
  local found = redis.call('HMGET', prefix .. 'job:' .. id, 'state', 'attempt', 'lane')
  local lease = redis.call('ZSCORE', prefix .. 'leases', id)
  return found[1] == '2' and found[2] == attempt and lease and tonumber(lease) > now
    and tonumber(found[3]) <= tonumber(asking[3])
end

local own, answer = ARGV[4] .. ':' .. ARGV[5], {}
for i = 10, #ARGV, 2 do
  local found = redis.call('HGET', units, ARGV[i])
  if found and found ~= ARGV[i + 1] and string.find(found, 'blobs/', 1, true) == 1 then
    table.insert(answer, found)
  elseif found and found ~= ARGV[i + 1] and found ~= own and holds(found) then
    table.insert(answer, 'elsewhere')
  else
    if ARGV[9] == '1' then redis.call('HSET', units, ARGV[i], own) end
    table.insert(answer, 'own')
  end
end
redis.call('PEXPIRE', units, ARGV[6])
derived(prefix, ARGV[2], ARGV[8], ARGV[7], ARGV[3])
return answer
