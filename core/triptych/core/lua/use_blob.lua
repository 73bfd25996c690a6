-- Renews a blob's time to live, after storing its bytes if they are given. ARGV: prefix, key, now_s, ttl_s[, data].
-- Gives 1, or 0 if there is no such blob.
local key, about = ARGV[2], ARGV[2] .. ':about'
if #ARGV == 5 then
  redis.call('SET', key, ARGV[5])
elseif redis.call('EXISTS', key) == 0 then
  return 0
end
-- A use never shortens the life that somebody else asked for.
local lives_s = math.max(tonumber(ARGV[4]), tonumber(redis.call('HGET', about, 'ttl_s') or 0))
redis.call('HSETNX', about, 'created_s', ARGV[3])
redis.call('HSET', about, 'used_s', ARGV[3], 'ttl_s', lives_s)
for _, each in ipairs({key, about}) do redis.call('PEXPIRE', each, math.floor(lives_s * 1000)) end
return 1
