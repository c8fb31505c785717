-- Give a partition up: whoever comes next has it at once, with everything that is pending.
-- KEYS: lease, token, stream. ARGV: group, token, member, ids that nobody saw (their delivery does not count).
if redis.call('GET', KEYS[2]) ~= ARGV[2] then
  return 0
end
redis.call('DEL', KEYS[2])
redis.call('HDEL', KEYS[1], 'owner', 'until')
if not group_of(KEYS[3], ARGV[1]) then
  return 1
end
for at = 4, #ARGV do
  redis.call('XCLAIM', KEYS[3], ARGV[1], ARGV[3], 0, ARGV[at], 'RETRYCOUNT', 0, 'JUSTID')
end
for _, each in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[3], ARGV[1])) do
  local consumer = named(each)
  if consumer['pending'] == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[3], ARGV[1], consumer['name'])
  end
end
return 1
