-- Renew a lease, or (with an empty token) only look at it.
-- KEYS: lease, token, stream. ARGV: group, token, lease_ms.
-- Returns 1 and the lag while it is ours; else 0, the owner ('' when free), and for how many ms it owns it.
local now = now_ms()
if ARGV[2] ~= '' and redis.call('GET', KEYS[2]) == ARGV[2] then
  local found = group_of(KEYS[3], ARGV[1])
  if found then
    redis.call('HSET', KEYS[1], 'until', text(now + ARGV[3]))
    return {1, lag_of(KEYS[3], found)}
  end
end
local known = redis.call('HMGET', KEYS[1], 'owner', 'until')
local left = tonumber(known[2] or 0) - now
if not known[1] or left <= 0 then
  return {0, '', 0}
end
return {0, known[1], left}
