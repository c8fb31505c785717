-- Say that a member lives (or leaves, with a lease of 0), and return who lives. What was agreed on is said again, for a
-- server that lost its data.
-- KEYS: members, news, about the address, about the group. ARGV: member, lease_ms, partitions, ledger ('' for none).
local now = now_ms()
redis.call('HSETNX', KEYS[3], 'partitions', ARGV[3])
if ARGV[4] ~= '' then
  redis.call('HSETNX', KEYS[4], 'ledger', ARGV[4])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local lease = tonumber(ARGV[2])
local changed
if lease > 0 then
  changed = redis.call('ZADD', KEYS[1], text(now + lease), ARGV[1])
else
  changed = redis.call('ZREM', KEYS[1], ARGV[1])
end
if changed == 1 then
  redis.call('XADD', KEYS[2], 'MAXLEN', 1, '*', 'member', ARGV[1])
end
return redis.call('ZRANGE', KEYS[1], 0, -1)
