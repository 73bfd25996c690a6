-- Live workers of a kind. ARGV: prefix, kind. Gives "worker model" strings.
return redis.call('ZRANGE', ARGV[1] .. 'workers:' .. ARGV[2], now_ms(), '+inf', 'BYSCORE')
