-- What every script begins with.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A whole number as text; tostring() would write 1.7e+12.
local function text(number)
  return string.format('%.0f', number)
end

-- A flat list of names and values (XINFO) as a table.
local function named(list)
  local found = {}
  for at = 1, #list, 2 do
    found[list[at]] = list[at + 1]
  end
  return found
end

-- Entry ids have up to 64 bits in each half, more than a Lua number holds: digits are compared as text.
local function digits_below(left, right)
  if #left ~= #right then
    return #left < #right
  end
  return left < right
end

local function id_below(left, right)
  local left_ms, left_seq = string.match(left, '^(%d+)-(%d+)$')
  local right_ms, right_seq = string.match(right, '^(%d+)-(%d+)$')
  if left_ms ~= right_ms then
    return digits_below(left_ms, right_ms)
  end
  return digits_below(left_seq, right_seq)
end

-- What XINFO says of a group; nil when the stream or the group is not there.
local function group_of(stream, group)
  if redis.call('EXISTS', stream) == 0 then
    return nil
  end
  for _, each in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local found = named(each)
    if found['name'] == group then
      return found
    end
  end
  return nil
end

-- How many entries the group has not finished. Redis 6.2 does not count, 7 not always: what the stream holds bounds it.
local function lag_of(stream, found)
  if found['lag'] then
    return found['lag'] + found['pending']
  end
  local info = named(redis.call('XINFO', 'STREAM', stream))
  if not id_below(found['last-delivered-id'], info['last-generated-id']) then
    return found['pending']
  end
  local unread = redis.call('XRANGE', stream, '(' .. found['last-delivered-id'], '+', 'COUNT', 100)
  if #unread < 100 then
    return #unread + found['pending']
  end
  return info['length']
end
