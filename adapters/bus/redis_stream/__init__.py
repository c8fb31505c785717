"""The Redis Streams bus: partitions as streams, each owned by one member of a group at a time.

    server      where Redis is, with TLS          link        connections: pipelined, and one command after another
    keys        names of keys, ids as positions   script      what must happen as one in Redis (`scripts/*.lua`)
    entry       entries and envelopes             publishing  how many partitions an address has; XADD
    outstanding, ready, lease                     one partition, from `assigned` to `revoked`
    member      who lives                         share       who is to own what
    reader      reading what is new, fenced       mounted     native FastStream subscribers
    bus         the `Bus` port

**Streams.** An address `orders` with 8 partitions is the streams `orders:0` to `orders:7`, and the bare `orders`, which
is one partition more for whoever just writes `XADD orders * data '{"number": 1}'` (`entry.envelope_of` says which forms
are understood). The key's CRC-32 modulo the number of partitions picks the stream. The number is kept in Redis, beside
the address, by whoever names it first; a reader that declares another one refuses to start. Keys of one partition hash
to one slot of a cluster, yet a cluster is not supported: one connection speaks for many partitions.

**Ownership.** Each partition of a group has a lease: its owner, an epoch that goes up with every owner, and a deadline
by the server's clock. All that changes anything is a script that looks at the owner's token first, and every read is a
transaction that is dropped when a token changed since we saw it. So who lost a partition (it was stopped for longer
than the lease, or cut off) can neither finish nor take anything of it. What an owner left unfinished goes to the next
one, in order and before anything new, with the number of deliveries counted up; what a living one has is never taken.

**What is kept.** Entries that a group has not finished are never dropped. Of those that all groups have finished, about
the last `keep_finished` of a stream stay (for groups that come later, and readers that begin further back), but none
that is older than the route's `retention_s`. The last one that a group has finished stays in any case: where it is
gone something else has deleted messages, and the route says what follows from that. A group that nobody reads any more
keeps everything: remove it with `XGROUP DESTROY`. Redis itself must not evict: `maxmemory-policy noeviction`.

**Keys** beside the streams begin with `millrace:{ADDRESS}:` and `millrace:{STREAM}:`; they stay when everybody left.

**Rights.** An ACL user needs the keys `ADDRESS`, `ADDRESS:*` and `millrace:*`, and these commands:

    +ping +select +multi +exec +watch +unwatch +evalsha +eval +time +client|id +client|unblock
    +xadd +xread +xreadgroup +xrange +xrevrange +xlen +xtrim +xack +xclaim +xpending +xgroup +xinfo
    +exists +get +mget +set +del +hget +hmget +hset +hsetnx +hdel +zadd +zrem +zrange +zremrangebyscore

(`client|id` and `client|unblock` may be missing: then waits are short, and there are more of them.) Who only publishes
needs `+ping +select +xadd +hget +hsetnx`.

Redis 6.2 and later. Without persistence a restart of Redis loses what was in it: groups are made again, and positions
in the ledger then belong to another incarnation.
"""
