-- Acknowledge what is finished, and now and then drop what every group has finished.
-- KEYS: token, stream. ARGV: group, token, '1' to trim, the oldest id to keep by age, how many to keep, the first id to
-- keep in any case, ids that are finished.
-- Returns 1 and the lag; 0 when the lease is lost.
if redis.call('GET', KEYS[1]) ~= ARGV[2] then
  return {0}
end
for from = 7, #ARGV, 1000 do
  redis.call('XACK', KEYS[2], ARGV[1], unpack(ARGV, from, math.min(from + 999, #ARGV)))
end
local ours, floor
if ARGV[3] == '1' then
  floor = ARGV[6]
end
for _, each in ipairs(redis.call('XINFO', 'GROUPS', KEYS[2])) do
  local group = named(each)
  if group['name'] == ARGV[1] then
    ours = group
  end
  if ARGV[3] == '1' then
    local needed = group['last-delivered-id']
    if group['pending'] > 0 then
      local first = redis.call('XPENDING', KEYS[2], group['name'])[2]
      if first and id_below(first, needed) then
        needed = first
      end
    end
    if id_below(needed, floor) then
      floor = needed
    end
  end
end
if not ours then
  return redis.error_reply('NOGROUP the group ' .. ARGV[1] .. ' is gone from ' .. KEYS[2])
end
if floor and floor ~= '0-0' then
  -- The last one before it stays, too: that it is there says that nobody else has deleted what comes after it.
  local before = redis.call('XREVRANGE', KEYS[2], '(' .. floor, '-', 'COUNT', 1)
  if #before > 0 then
    floor = before[1][1]
  end
  local old = ARGV[4]
  if id_below(floor, old) then
    old = floor
  end
  redis.call('XTRIM', KEYS[2], 'MINID', '~', old, 'LIMIT', 10000)
  local over = redis.call('XLEN', KEYS[2]) - ARGV[5]
  if over > 0 then
    redis.call('XTRIM', KEYS[2], 'MINID', '~', floor, 'LIMIT', math.min(over, 100000))
  end
end
return {1, lag_of(KEYS[2], ours)}
