-- Drops a delivery. ARGV: prefix, id, tenant. Gives 1, or 0 if the tenant has none of this id.
if redis.call('HGET', ARGV[1] .. 'delivery:' .. ARGV[2], 'tenant') ~= ARGV[3] then return 0 end
forget_delivery(ARGV[1], ARGV[2])
return 1
