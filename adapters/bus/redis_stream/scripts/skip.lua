-- Everything up to an id is finished, whether it was delivered or not.
-- KEYS: token, stream. ARGV: group, token, id. Returns 1 and the last delivered id; 0 when the lease is lost.
if redis.call('GET', KEYS[1]) ~= ARGV[2] then
  return {0}
end
while true do
  local pending = redis.call('XPENDING', KEYS[2], ARGV[1], '-', ARGV[3], 1000)
  if #pending == 0 then
    break
  end
  local ids = {}
  for at, each in ipairs(pending) do
    ids[at] = each[1]
  end
  redis.call('XACK', KEYS[2], ARGV[1], unpack(ids))
end
local found = group_of(KEYS[2], ARGV[1])
if id_below(found['last-delivered-id'], ARGV[3]) then
  redis.call('XGROUP', 'SETID', KEYS[2], ARGV[1], ARGV[3])
end
return {1, group_of(KEYS[2], ARGV[1])['last-delivered-id']}
