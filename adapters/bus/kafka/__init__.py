"""Kafka: FastStream's native broker with a consume loop of our own on aiokafka.

    sharing    who gets which partition, and which one waits until its owner let go (pure)
    assignor   that decision as aiokafka's group protocol
    member     one route in its group: leases opened, kept through rebalances, given up
    lease      one partition while it is ours (the `Assignment` port)
    committer  commits of many partitions in one request, fenced by membership
    fetching   the loop from aiokafka's buffers to the consumer
    delivery   a record as a delivery, its envelope made when somebody asks
    mounted    a route as a native FastStream subscriber
    topics     topics: made, looked up, named by their id
    sending    the producer: everything confirmed, or an error
    broker     the native broker
    bus        the `Bus` port over it

aiokafka's group protocol is eager: every rebalance takes everything away and gives most of it back. Ours is not: what
stays with a member is not touched, what moves is given up first (`sharing` says how), so nothing that runs is
disturbed by a worker that comes or goes.
"""
