-- Notes what comes of documents without any job that runs. ARGV: prefix, tenant, note_ttl_ms, digests, then names.
derived(ARGV[1], ARGV[2], ARGV[4], ARGV[3], unpack(ARGV, 5))
