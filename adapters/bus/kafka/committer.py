"""Commits of one route: what is asked for at about the same time goes in one request, fenced by the membership."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import msgspec
from aiokafka.errors import IllegalGenerationError, KafkaError, RebalanceInProgressError, UnknownMemberIdError  # type: ignore[import-untyped]
from aiokafka.structs import OffsetAndMetadata, TopicPartition  # type: ignore[import-untyped]

from adapters.bus.owned import OwnedTasks
from adapters.bus.turn import next_turn
from contracts.errors import Unavailable
from contracts.ports.clock import Clock

if TYPE_CHECKING:
    from adapters.bus.kafka.lease import KafkaLease

Send = Callable[[Mapping[TopicPartition, OffsetAndMetadata]], Awaitable[None]]

RETRY_S = 0.1


class _Asked(msgspec.Struct, eq=False):
    lease: KafkaLease
    position: int
    answer: asyncio.Future[None]


class Committer:
    """A commit costs the same for one partition as for all (5.6 ms on Kafka 4), so there is one under way at a time,
    and whoever asks meanwhile is in the next.

    Kafka checks the generation of a commit, not whose the partition is. So none is under way while the group is
    joined (the gate is closed from the end of a revocation to the next assignment): what was meant for one generation
    can't be sent in another, where the partition may be somebody else's.
    """

    def __init__(self, clock: Clock, send: Send, *, wait_s: float, lost: Callable[[], None]) -> None:
        self._clock = clock
        self._send = send
        self._wait_s = wait_s
        self._lost = lost
        self._tasks = OwnedTasks("kafka commits")
        self._asked: list[_Asked] = []
        self._rounds: asyncio.Task[None] | None = None
        self._gate = asyncio.Event()

    async def commit(self, lease: KafkaLease, position: int) -> None:
        """Raises `LeaseLost`, or `Unavailable` after the deadline: then it may have been committed."""
        asked = _Asked(lease, position, asyncio.get_running_loop().create_future())
        self._asked.append(asked)
        self._begin()
        try:
            async with self._clock.timeout(self._wait_s):
                await asked.answer
        except TimeoutError:
            lease.owned("commit")
            why = "the group is being joined again" if not self._gate.is_set() else "its coordinator does not answer"
            raise _unavailable(lease, f"{why}, for {self._wait_s:g} s now") from None

    async def close_gate(self) -> None:
        """Returns when nothing is under way; what could not be answered is sent when the gate opens."""
        self._gate.clear()
        await self._tasks.close()

    def open_gate(self) -> None:
        self._gate.set()
        self._begin()

    async def close(self) -> None:
        """Whoever still waits learns that the lease is over, or at its deadline that nobody knows."""
        await self._tasks.close()
        self._refuse_what_is_over()

    def _begin(self) -> None:
        if self._asked and self._gate.is_set() and (self._rounds is None or self._rounds.done()):
            self._rounds = self._tasks.start(self._send_rounds(), "commit")

    async def _send_rounds(self) -> None:
        await next_turn()  # whoever commits in this turn of the loop comes along
        while self._refuse_what_is_over():
            now, self._asked = self._asked, []
            try:
                error = await self._outcome(now)
            except asyncio.CancelledError:
                self._asked = now + self._asked
                raise
            for asked in now:
                if not asked.answer.done() and error is not None:
                    asked.answer.set_exception(_unavailable(asked.lease, error))
                elif not asked.answer.done() and not asked.lease.over:
                    asked.answer.set_result(None)
                else:
                    self._asked.append(asked)  # refused with those of the next round

    async def _outcome(self, now: list[_Asked]) -> str | None:
        """None when all were committed or are over; why not, when the cluster could not say."""
        offsets: dict[TopicPartition, OffsetAndMetadata] = {}
        for asked in now:
            lease = asked.lease
            # Going back is no commit; the same again is one, for it is how a worker asks whether it is still the owner.
            lease.committing = max(lease.committing, asked.position, lease.committed)
            offsets[lease.tp] = OffsetAndMetadata(lease.committing, lease.note)
        try:
            await self._send(offsets)
        except (UnknownMemberIdError, IllegalGenerationError):
            self._lost()
            return None
        except RebalanceInProgressError:
            return "the group is being joined again"
        except KafkaError as error:
            return str(error) or type(error).__name__
        for asked in now:
            asked.lease.committed = max(asked.lease.committed, offsets[asked.lease.tp].offset)
        return None

    def _refuse_what_is_over(self) -> bool:
        """Whether anything is left to ask for."""
        left = []
        for asked in self._asked:
            if asked.answer.done():
                continue
            if asked.lease.over:
                asked.answer.set_exception(asked.lease.lost("commit"))
            else:
                left.append(asked)
        self._asked = left
        return bool(left)


def _unavailable(lease: KafkaLease, why: str) -> Unavailable:
    place = f"{lease.partition.address} partition {lease.partition.index}"
    return Unavailable("kafka", f"a commit of {place} was not confirmed: {why}")
