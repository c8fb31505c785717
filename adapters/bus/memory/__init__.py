"""The memory bus: a real broker in this process, with partitions, competing groups, redelivery, delay and bounds.

    log        what the buses of a process share: addresses, delay, answers, dead letters
    topic      one address: its partitions and groups, its bounds
    partition  one partition's messages, and one group's place in them (pure)
    past       what all groups have finished, for a while; history reads it by time
    group      who owns which partition
    member     one consumer's leases: assigned, fetched from, committed, revoked
    broker ... the native FastStream broker over it
    bus        the `Bus` port over the broker

Messages die with the process. Everything here belongs to one event loop and is not thread-safe.
"""
