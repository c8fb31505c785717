-- Deliver single entries again that were handed back.
-- KEYS: token, stream. ARGV: group, token, member, ids. Returns as recover.lua does, without where to go on.
if redis.call('GET', KEYS[1]) ~= ARGV[2] then
  return {0}
end
local entries, counts, gone = {}, {}, 0
for at = 4, #ARGV do
  local id = ARGV[at]
  local pending = redis.call('XPENDING', KEYS[2], ARGV[1], id, id, 1)
  local entry
  if #pending == 1 then
    entry = redis.call('XCLAIM', KEYS[2], ARGV[1], ARGV[3], 0, id)[1]
  else -- it was acknowledged before, and is read once more because its reader began before it
    entry = redis.call('XRANGE', KEYS[2], id, id)[1]
  end
  if entry then
    entries[#entries + 1] = entry
    counts[#counts + 1] = (#pending == 1 and pending[1][4] or 1) + 1
  else
    gone = gone + 1
    redis.call('XACK', KEYS[2], ARGV[1], id)
  end
end
return {1, entries, counts, '', gone}
