-- Notes what comes of documents (a work's key, a blob's name), so that a purge finds it.
-- Digests are separated by blanks. A note outlives what it names.
local function derived(prefix, tenant, digests, ttl_ms, ...)
  for digest in string.gmatch(digests, '%S+') do
    local key = prefix .. 'derived:' .. tenant .. ':' .. digest
    redis.call('SADD', key, ...)
    if redis.call('PTTL', key) < tonumber(ttl_ms) then redis.call('PEXPIRE', key, ttl_ms) end
  end
end
