-- Deliver again, in order, what former owners left unfinished: what is pending, or (with a position to begin from that
-- the group has passed already) everything that is still there. What is acknowledged stays so.
-- KEYS: token, stream. ARGV: group, token, member, id to go on after, last id, how many, 'pending' or 'all'.
-- Returns 1, entries, how often each was delivered, the id to go on after ('' when there is no more), how many are gone;
-- 0 when the lease is lost.
if redis.call('GET', KEYS[1]) ~= ARGV[2] then
  return {0}
end
local first, last, count = '(' .. ARGV[4], ARGV[5], tonumber(ARGV[6])
local ids, times, there = {}, {}, {}
local entries, counts, gone = {}, {}, 0
if ARGV[7] == 'all' then
  entries = redis.call('XRANGE', KEYS[2], first, last, 'COUNT', count)
  if #entries > 0 then
    last = entries[#entries][1]
    count = #entries
  end
end
for at, each in ipairs(redis.call('XPENDING', KEYS[2], ARGV[1], first, last, count)) do
  ids[at] = each[1]
  times[each[1]] = each[4]
end
for from = 1, #ids, 1000 do
  local command = {'XCLAIM', KEYS[2], ARGV[1], ARGV[3], 0}
  for at = from, math.min(from + 999, #ids) do
    command[#command + 1] = ids[at]
  end
  for _, entry in ipairs(redis.call(unpack(command))) do
    if entry then
      there[entry[1]] = true
      if ARGV[7] ~= 'all' then
        entries[#entries + 1] = entry
      end
    end
  end
end
-- What was deleted from the stream is pending nevertheless (Redis 6.2), or was forgotten by XCLAIM (7).
for _, id in ipairs(ids) do
  if not there[id] then
    gone = gone + 1
    redis.call('XACK', KEYS[2], ARGV[1], id)
  end
end
for at, entry in ipairs(entries) do
  counts[at] = (times[entry[1]] or 1) + 1
end
local after = ''
if ARGV[7] == 'all' and #entries > 0 then
  after = last
elseif #ids > 0 then
  after = ids[#ids]
end
if after == '' then
  for _, each in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[2], ARGV[1])) do
    local consumer = named(each)
    if consumer['name'] ~= ARGV[3] and consumer['pending'] == 0 then
      redis.call('XGROUP', 'DELCONSUMER', KEYS[2], ARGV[1], consumer['name'])
    end
  end
end
return {1, entries, counts, after, gone}
