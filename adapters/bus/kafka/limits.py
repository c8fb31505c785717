"""How much is fetched, and how long is waited for what."""

from __future__ import annotations

import msgspec


class KafkaLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one route's fetching, and the deadlines of all that asks the cluster."""

    max_rows: int = 5_000
    """Of one `fetched`."""
    max_bytes: int = 8 * 1024 * 1024
    """Of one `fetched`, unless a single message is larger."""
    partition_fetch_bytes: int = 4 * 1024 * 1024
    """Read ahead of each partition, in this process, whether it is paused or not."""
    fetch_bytes: int = 32 * 1024 * 1024
    """Of one answer of a broker."""
    fetch_wait_s: float = 0.5
    """How long a broker may hold a fetch for which there is nothing."""
    message_bytes: int = 1_047_000
    """A larger body is not even sent. Kafka's own `max.message.bytes` is 1,048,588 unless set, headers included."""
    open_wait_s: float = 15.0
    """For the first connection, and for topics to be made."""
    commit_wait_s: float = 10.0
    """Then a commit is `Unavailable`; a rebalance under way is waited for within it."""
    publish_wait_s: float = 15.0
    """Then a message that is not confirmed is `Unavailable`; it may arrive all the same."""
    read_wait_s: float = 15.0
    """Who reads by time, and is not at the end, waits so long for more; then it is `Unavailable`."""
    close_wait_s: float = 5.0
    """For each client that takes its leave; then its sockets are closed."""
