"""One partition while it is ours: where its fetching stands, why it is paused, what is handed out again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aiokafka.structs import TopicPartition  # type: ignore[import-untyped]

from adapters.bus.kafka.delivery import KafkaDelivery
from contracts.errors import LeaseLost
from contracts.message import Partition

if TYPE_CHECKING:
    from adapters.bus.kafka.member import Member


class KafkaLease:
    """Implements the `Assignment` port.

    It lives from before `assigned` until after `revoked`, through all rebalances that leave the partition here; its
    epoch is the group's generation in which it came.
    """

    __slots__ = (
        "_again",
        "_handed",
        "_member",
        "_pending",
        "committed",
        "committing",
        "end",
        "epoch",
        "held",
        "incarnation",
        "note",
        "opened",
        "over",
        "partition",
        "position",
        "reasons",
        "revoking",
        "tp",
        "wanted",
    )

    def __init__(self, member: Member, index: int, epoch: int) -> None:
        self._member = member
        self.partition = Partition(member.topic, index)
        self.tp = TopicPartition(member.topic, index)
        self.epoch = epoch
        self.incarnation = ""
        self.reasons: set[str] = set()
        self.held = False
        """The consumer has taken it, so it is to be told when it goes."""
        self.opened = False
        """It may be fetched from."""
        self.revoking = False
        self.over = False
        self.wanted: int | None = None
        """Where the consumer wants to begin."""
        self.position = 0
        """Of what aiokafka is to hand out next."""
        self.committed = 0
        self.committing = 0
        self.note = ""
        """Kept beside what is committed."""
        self.end = 0
        """Of the partition, as the cluster last said."""
        self._handed: int | None = None
        """What lies below has been handed over."""
        self._pending: deque[KafkaDelivery] = deque()
        self._again: set[int] = set()

    # The port.

    @property
    def lag(self) -> int:
        return max(0, self.end - self.committed)

    def pause(self, reason: str) -> None:
        self.reasons.add(reason)
        self._member.hold_fetching(self)

    def resume(self, reason: str) -> None:
        self.reasons.discard(reason)
        if self.ready:
            self._member.go_on_fetching(self)

    async def commit(self, position: int) -> None:
        self.owned("commit")
        await self._member.committer.commit(self, position)

    async def release(self, positions: Sequence[int]) -> None:
        """Kafka hands nothing back: it is fetched again, and what lies between is skipped."""
        self.owned("release")
        again = {position for position in positions if self.committed <= position < (self._handed or 0)}
        if again:
            self._again |= again
            self.go_to(min(again))

    # Fetching.

    @property
    def ready(self) -> bool:
        """Something may be handed over."""
        return self.opened and not self.reasons

    @property
    def waiting(self) -> bool:
        """There is something in hand."""
        return bool(self._pending)

    def start_at(self, position: int) -> None:
        """The next fetch begins here; the first time it is also what counts as committed."""
        if self._handed is None:
            self.committed = self.committing = self._handed = position
        self.opened = True
        self.go_to(position)

    def end_fetching(self) -> None:
        """What is in hand is forgotten."""
        self.opened = False
        self._pending.clear()

    def go_to(self, position: int) -> None:
        """What is in hand is fetched again."""
        self._pending.clear()
        self.position = position
        self._member.seek(self)

    def read(self, _: Any, record: Any) -> KafkaDelivery:
        """aiokafka calls it for each record."""
        return KafkaDelivery(record, self.partition, record.offset)

    def take(self, fetched: list[Any]) -> None:
        """What aiokafka handed out, in order; what was handed over before is left out."""
        if not fetched:
            return
        deliveries = [one if one.__class__ is KafkaDelivery else self.read(None, one) for one in fetched]
        self.position = deliveries[-1].position + 1
        handed = self._handed or 0
        if deliveries[0].position < handed:
            again = self._again
            deliveries = [one for one in deliveries if one.position >= handed or one.position in again]
        self._pending.extend(deliveries)

    def skip_to(self, position: int) -> None:
        """What lies before it is in hand, or is nothing for us."""
        self.position = max(self.position, position)
        self._member.seek(self)

    def next_fetch(self, max_rows: int, max_bytes: int) -> list[KafkaDelivery]:
        """So many of what is in hand, one at least."""
        pending = self._pending
        if len(pending) <= max_rows and sum([one.size_bytes for one in pending]) <= max_bytes:
            chosen = list(pending)
            pending.clear()
        else:
            chosen = [pending.popleft()]
            size_bytes = chosen[0].size_bytes
            while (
                pending and len(chosen) < max_rows and (size_bytes := size_bytes + pending[0].size_bytes) <= max_bytes
            ):
                chosen.append(pending.popleft())
        last = chosen[-1].position
        self._handed = max(self._handed or 0, last + 1)
        if self._again:
            self._again = {position for position in self._again if position > last}
        return chosen

    def owned(self, wish: str) -> None:
        """Raises `LeaseLost` when it is over."""
        if self.over:
            raise self.lost(wish)

    def lost(self, wish: str) -> LeaseLost:
        return LeaseLost(
            f"cannot {wish}: {self.partition.address} partition {self.partition.index} was revoked from this "
            f"assignment (epoch {self.epoch}); its unfinished messages are delivered to the next owner"
        )

    def __repr__(self) -> str:
        return (
            f"<KafkaLease {self.partition.address}/{self.partition.index} epoch {self.epoch}"
            f"{' over' if self.over else ''}>"
        )
