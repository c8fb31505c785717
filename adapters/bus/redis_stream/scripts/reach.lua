-- Whether everything from an id on is still there. Nobody of ours deletes the last one that a group has finished, so where
-- nothing is left below the id, something else has deleted what it pleased. Unless the id is that of an entry which is there:
-- trimming begins with the oldest.
-- KEYS: stream. ARGV: the id. Returns 1; or 0 and the last id that was ever given out.
if #redis.call('XREVRANGE', KEYS[1], ARGV[1], '-', 'COUNT', 1) > 0 then
  return {1}
end
local last = named(redis.call('XINFO', 'STREAM', KEYS[1]))['last-generated-id']
if id_below(last, ARGV[1]) then
  return {1}
end
return {0, last}
