-- What a tenant has spent in the period that runs. ARGV: prefix, tenant, period. Gives {used, reserved, start_ms as text}.
local prefix, now = ARGV[1], now_ms()
end_lost(prefix, now)
local start = period_start(now, ARGV[3])
local used, reserved = sums(budget_key(prefix, ARGV[2], ARGV[3], start))
return {used, reserved, start}
