-- Ends a job by the attempt that holds its lease. ARGV: prefix, id, attempt, state, field, value, cached, error of a
-- cancelled job.
-- Gives 1, or 0 if the attempt lost its lease: its result is dropped.
local found = redis.call('HMGET', ARGV[1] .. 'job:' .. ARGV[2], 'state', 'attempt', 'abandoned')
if found[2] ~= ARGV[3] or (found[1] ~= '2' and found[1] ~= '3') then return 0 end
-- Its caller may have begun another job by now: this one must not end as if it were that.
if found[3] then
  finish(ARGV[1], ARGV[2], 6, 'error', ARGV[8])
  return 1
end
redis.call('HSET', ARGV[1] .. 'job:' .. ARGV[2], 'cached', ARGV[7])
finish(ARGV[1], ARGV[2], tonumber(ARGV[4]), ARGV[5], ARGV[6])
return 1
