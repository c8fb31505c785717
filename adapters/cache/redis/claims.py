"""Of all processes one loads a missing key: it holds a claim, which whatever changes the key takes away.

A claim that is gone when the value is there means that the value may have been read before a change: it is not kept.
"""

from __future__ import annotations

KEEP = """
if redis.call('get', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('del', KEYS[2])
if ARGV[3] == '0' then redis.call('set', KEYS[1], ARGV[2])
else redis.call('set', KEYS[1], ARGV[2], 'px', ARGV[3]) end
return 1
"""
"""Keys: the value's and the claim's. Arguments: whose claim, the value, its time to live in ms (0: none)."""

RELEASE = """
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end
return 0
"""
"""Key: the claim's. Argument: whose it is."""

CLAIM_S = 30.0
"""A claim of a process that died is gone after that; a load that takes longer is made twice."""
POLL_S = 0.02
