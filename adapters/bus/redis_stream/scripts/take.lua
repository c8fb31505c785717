-- Take a partition that is free, or whose owner's lease ran out, and make its group where there is none.
-- KEYS: lease, token, made, stream. ARGV: group, member, lease_ms, incarnation if it is to be a new one.
-- Returns epoch, incarnation, last delivered id, how many are pending; or 0, the owner, and how long it still owns it.
local now = now_ms()
local known = redis.call('HMGET', KEYS[1], 'owner', 'until', 'epoch', 'made')
local left = tonumber(known[2] or 0) - now
if known[1] and known[1] ~= ARGV[2] and left > 0 then
  return {0, known[1], left}
end
local found = group_of(KEYS[4], ARGV[1])
local current = redis.call('GET', KEYS[3])
local made = known[4]
if not found then
  -- The stream was never there, or was deleted (and perhaps made again by a producer) since the group was made on it.
  if not current or made == current or redis.call('EXISTS', KEYS[4]) == 0 then
    current = ARGV[4]
    redis.call('SET', KEYS[3], current)
  end
  made = current
  redis.call('XGROUP', 'CREATE', KEYS[4], ARGV[1], '0', 'MKSTREAM')
  found = group_of(KEYS[4], ARGV[1])
elseif not made then
  if not current then
    current = ARGV[4]
    redis.call('SET', KEYS[3], current)
  end
  made = current
end
-- By the clock at least, so that it goes up even when the server forgot the last one.
local epoch = text(math.max(tonumber(known[3] or 0) + 1, now))
redis.call('HSET', KEYS[1], 'owner', ARGV[2], 'until', text(now + ARGV[3]), 'epoch', epoch, 'made', made)
redis.call('SET', KEYS[2], ARGV[2] .. ':' .. epoch)
return {tonumber(epoch), made, found['last-delivered-id'], lag_of(KEYS[4], found)}
