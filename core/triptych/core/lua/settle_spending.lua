-- Ends a call. ARGV: prefix, id, outcome, cost, field, value, ... for the ledger. Gives 1; 0: it has ended before.
return settle_reservation(ARGV[1], ARGV[2], now_ms(), ARGV[3], ARGV[4], unpack(ARGV, 5))
