-- Tell the other members that something changed.
-- KEYS: news. ARGV: member.
return redis.call('XADD', KEYS[1], 'MAXLEN', 1, '*', 'member', ARGV[1])
