-- Deletes a terminal job with all that is kept of it but blobs. ARGV: prefix, id, tenant. Gives "deleted", "gone" or "running".
local prefix, id = ARGV[1], ARGV[2]
local found = redis.call('HMGET', prefix .. 'job:' .. id, 'state', 'tenant', 'request_id')
if not found[1] or found[2] ~= ARGV[3] then return 'gone' end
if tonumber(found[1]) < 4 then return 'running' end
redis.call('ZREM', prefix .. 'jobs:' .. found[2], id)
redis.call('ZREM', prefix .. 'dead:' .. found[2], id)
redis.call('ZREM', prefix .. 'expiring', id .. ' ' .. found[2])
redis.call('DEL', prefix .. 'job:' .. id, prefix .. 'events:' .. id, prefix .. 'children:' .. id)
local request = prefix .. 'request:' .. found[2] .. ':' .. (found[3] or '')
if redis.call('HGET', request, 'id') == id then redis.call('DEL', request) end
return 'deleted'
