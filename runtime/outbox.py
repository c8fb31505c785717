"""From the outbox to the bus: what handlers emitted is sent as soon as it is committed, whoever committed it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from contracts import metrics as metric
from contracts.errors import Permanent, Transient, Unavailable
from contracts.message import Envelope
from contracts.ports import Bus, Clock, Ledger, Log, Metrics
from contracts.ports.ledger import DeadLetter

FULL = "outbox is full"
"""The reason for which routes that emit pause."""
LIMIT = 500
"""Messages of one key range that are sent at a time."""
POLL_S = 2.0
"""The fallback, when a wake was lost or whoever sent from a key range died."""
BACKOFF_MAX_S = 5.0
COUNT_EVERY_S = 1.0
COUNT_SHARE = 0.05
"""Counting takes at most this share of the time."""

Tell = Callable[[bool], None]


class OutboxRelay:
    """Three loops: `listen` hears of what may have come, `run` sends it, `count` watches how much waits."""

    def __init__(
        self,
        ledger: Ledger,
        bus: Bus,
        *,
        most: int,
        clock: Clock,
        log: Log,
        metrics: Metrics,
    ) -> None:
        self._ledger = ledger
        self._bus = bus
        self._most = most
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._woken = asyncio.Event()
        self._sending = asyncio.Lock()
        self._flushed = False
        self._limit = LIMIT
        self._failures = 0
        self._subscribers: list[Tell] = []
        self.full = False
        """More than the bound waits; it ends when less than half of it does."""

    def subscribe(self, tell: Tell) -> None:
        """`tell` hears at once whether the outbox is full, and whenever that changes."""
        self._subscribers.append(tell)
        tell(self.full)

    def wake(self) -> None:
        """Something was added in this process, of which nobody else is told."""
        self._woken.set()

    async def listen(self) -> None:
        """The loop that hears of what may have come."""
        async for _ in self._ledger.outbox.wakeups():
            self._woken.set()

    async def run(self) -> None:
        """The loop that sends, until `flush`. While the bus or the ledger is down, everything stays where it is."""
        while not self._flushed:
            self._woken.clear()
            try:
                sent = await self._relay()
            except Transient as error:
                await self._back_off(error)
                continue
            if not sent:
                await self._until_woken()

    async def count(self) -> None:
        """The loop that watches how much waits."""
        while True:
            began_at = self._clock.monotonic()
            await self._look()
            took_s = self._clock.monotonic() - began_at
            await self._clock.sleep(max(COUNT_EVERY_S, took_s / COUNT_SHARE) * (0.75 + self._clock.random() / 2))

    async def flush(self, *, timeout_s: float) -> None:
        """For a drain: send what waits now, as far as that can be done in this time. What is left is no fault: it is
        sent by another worker, or by the next one that starts. `run` begins nothing more; what it is about to send is
        waited for, since what is cut between the bus and the ledger is sent again."""
        self._flushed = True
        self._woken.set()
        try:
            async with self._clock.timeout(timeout_s):
                left = await self._ledger.outbox.backlog()
                while left > 0 and (sent := await self._flush()):
                    left -= sent  # not until nothing is left: others may go on adding for ever
                async with self._sending:
                    await self._look()
        except (Transient, TimeoutError) as error:
            self._log.warn("what waits in the outbox is left to other workers", error=str(error) or "no time left")

    async def _flush(self) -> int:
        while True:
            try:
                return await self._relay()
            except Transient as error:
                await self._back_off(error)

    async def _relay(self) -> int:
        async with self._sending:
            sent = await self._ledger.outbox.relay(self._send, limit=self._limit)
        self._limit = min(LIMIT, self._limit * 2)
        if self._failures:
            self._failures = 0
            self._log.info("messages leave the outbox again")
        return sent

    async def _send(self, envelopes: Sequence[Envelope]) -> None:
        """Returns once none of them has to be sent any more."""
        try:
            await self._bus.publish(*envelopes)
        except Permanent as error:
            # One that the bus will never take must not keep back all behind it: it is searched for, and buried.
            if len(envelopes) == 1:
                await self._bury(envelopes[0], error)
                return
            middle = len(envelopes) // 2
            await self._send(envelopes[:middle])
            await self._send(envelopes[middle:])
        else:
            self._metrics.add(metric.OUTBOX_SENT, len(envelopes))

    async def _bury(self, envelope: Envelope, error: Permanent) -> None:
        letter = DeadLetter(
            id=envelope.id,
            address=envelope.address,
            reason="refused by the bus",
            body=envelope.body,
            error=str(error),
            key=envelope.key,
            headers=envelope.headers,
            origin="outbox",
            correlation_id=envelope.correlation_id,
        )
        await self._ledger.dead_letters.bury([letter])
        self._metrics.add(metric.DEAD_LETTERS, address=letter.address, reason=letter.reason)
        self._log.error("buried", address=letter.address, id=letter.id, reason=letter.reason, error=letter.error)

    async def _back_off(self, error: Transient) -> None:
        self._failures += 1
        if not isinstance(error, Unavailable):
            # A bound of the bus: fewer at a time, since those that it took before it refused are sent again.
            self._limit = max(1, self._limit // 2)
        if self._failures == 1:
            self._log.warn("messages wait in the outbox", error=str(error))
        longest_s = min(BACKOFF_MAX_S, 0.1 * 2.0 ** min(self._failures, 10))
        await self._clock.sleep(longest_s * (0.5 + self._clock.random() / 2))

    async def _until_woken(self) -> None:
        try:
            async with self._clock.timeout(POLL_S):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _look(self) -> None:
        backlog = await self._ledger.outbox.backlog()
        self._metrics.set(metric.OUTBOX_MESSAGES, backlog)
        full = backlog > (self._most // 2 if self.full else self._most)
        if full == self.full:
            return
        self.full = full
        if full:
            self._log.warn("the outbox is full: routes that emit pause", waiting=backlog, most=self._most)
        else:
            self._log.info("the outbox has room again: routes that emit go on", waiting=backlog)
        for tell in self._subscribers:
            tell(full)
