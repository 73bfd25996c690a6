-- Notes what comes of documents before it is written: whoever dies in between leaves nothing that a purge does not find.
-- ARGV: prefix, tenant, id, attempt, note_ttl_ms, digests, then names.
-- Gives 1, or 0 if the attempt does not run any more: then it must not be written.
local found = redis.call('HMGET', ARGV[1] .. 'job:' .. ARGV[3], 'state', 'attempt')
if found[2] ~= ARGV[4] or (found[1] ~= '2' and found[1] ~= '3') then return 0 end
derived(ARGV[1], ARGV[2], ARGV[6], ARGV[5], unpack(ARGV, 7))
return 1
