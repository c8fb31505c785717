"""One message, or one batch, from its lane to its end: attempts, parking, the search for a culprit, dead letters."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Any, Protocol

from contracts import metrics as metric
from contracts import outcome
from contracts.cancellation import being_cancelled, forget_cancellations
from contracts.errors import LeaseLost, Unavailable, Undecodable
from contracts.message import Delivery
from contracts.module import StreamRoute
from contracts.ports import Tx
from contracts.ports.ledger import CRASH_CAP, DeadLetter
from contracts.ports.parking import ToPark
from contracts.ports.partitions import Hold
from runtime.dead_letter import dead_letter
from runtime.pipeline import Mounted, Scope, carry
from runtime.streams.attempt import Attempt
from runtime.streams.parking import Parking
from runtime.streams.partition import OwnedPartition
from runtime.streams.passage import Passage
from runtime.streams.scope import BareScope, StreamScope
from runtime.streams.state import BatchState
from runtime.streams.suspicion import Suspicion
from runtime.supervisor import Fate
from runtime.wiring import Adapters

LEDGER_RETRY_MAX_S = 5.0
RELEASED_WAIT_S = 1.0
"""Before what was released without anybody asking for it is tried again, in its lane."""

Decoded = tuple[Delivery, Any]


class Tell(Protocol):
    """Hears what became of messages; not `well`: they were given up."""

    def __call__(self, deliveries: Sequence[Delivery], fate: Fate, *, well: bool = True) -> None: ...


class Carrier:
    """Carries the passages of one route; `tell` hears what became of each message, `lost` of a partition whose epoch
    has moved on, `added` that something is to be sent. Once it is `stopping`, nothing is tried again."""

    def __init__(
        self,
        mounted: Mounted,
        adapters: Adapters,
        parking: Parking,
        *,
        stopping: Callable[[], bool],
        tell: Tell,
        lost: Callable[[OwnedPartition], None],
        added: Callable[[], None],
    ) -> None:
        assert isinstance(mounted.route, StreamRoute)
        self.mounted = mounted
        self.clock = adapters.clock
        self.metrics = adapters.metrics
        self._route: StreamRoute = mounted.route
        self._adapters = adapters
        self._ledger = adapters.ledger
        self._bare = BareScope(adapters.log)
        self._parking = parking
        self._suspicion = Suspicion(adapters.ledger, adapters.clock, self._until_answered)
        self._stopping = stopping
        self._tell = tell
        self._lost = lost
        self._added = added
        self._name = f"millrace {mounted.module.name} "

    async def carry(self, passage: Passage) -> None:
        """To its end. What is still open when it is cut goes back unharmed. What broke outside its handler is our own
        fault: it is tried again after a pause, in its lane, so that it is neither acknowledged nor overtaken."""
        try:
            if passage.suspect and not await self._may_run(passage):
                return
            while not await self._went(passage):
                await self.clock.sleep(RELEASED_WAIT_S)
            if passage.suspect:
                await self._suspicion.came_back(passage)
        except LeaseLost:
            self._lost(passage.owned)
        finally:
            if passage.open:
                await self._hand_back(passage)
                if passage.suspect:
                    await self._suspicion.acquit(passage)

    async def _went(self, passage: Passage) -> bool:
        try:
            await self._on_its_way(passage)
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the lanes go on
            self._adapters.log.error("a message broke outside its handler", id=passage.id, error=repr(error))
            return self._stopping() or passage.owned.ending
        return True

    async def _on_its_way(self, passage: Passage) -> None:
        if passage.tick is not None:
            await self._attempts(passage, (), list, bury=False)
            return
        delivery = passage.deliveries[0]
        if self._route.batch is None and self._parking.holds_back(passage):
            await self._until_answered(partial(self._park, passage, delivery))
        elif self._route.batch is None:
            message = passage.message
            decode = (lambda: message) if message is not None else partial(self.mounted.read, delivery.body)
            attempt = passage.parked.attempt if passage.parked else 1
            await self._attempts(passage, passage.deliveries, decode, attempt=attempt)
        else:
            await self._park_what_is_early(passage)
            await self._batch(passage, await self._decodable(passage))

    async def _may_run(self, passage: Passage) -> bool:
        """A suspect is counted before it is run; False when that was done often enough: it is in quarantine."""
        died = await self._suspicion.charges(passage)
        if died < CRASH_CAP:
            return True
        error = f"the process that handled it died {died} times, the last {died - 1} with this message alone"
        await self._bury(passage, passage.deliveries[0], outcome.Dead(reason="poison", error=error))
        return False

    # Batches.

    async def _park_what_is_early(self, passage: Passage) -> None:
        """What is not to be handled yet leaves its batch, and comes back as one of its own."""
        if passage.parked is not None:
            return
        for delivery in self._parking.early(passage.deliveries):
            await self._until_answered(partial(self._park, passage, delivery))

    async def _decodable(self, passage: Passage) -> list[Decoded]:
        """Bury what can't be decoded, before the handler is called with the rest: where nobody else can, either.
        Nothing is left to do here where it was told to end while it waited for that."""
        deliveries = tuple(passage.open.values())
        with suppress(Undecodable):  # as a rule there is none
            return list(zip(deliveries, self.mounted.read_all([one.body for one in deliveries]), strict=True))
        good: list[Decoded] = []
        for delivery in deliveries:
            try:
                good.append((delivery, self.mounted.read(delivery.body)))
            except Undecodable:
                decode = partial(self.mounted.read, delivery.body)
                if not isinstance(await self._attempts(passage, [delivery], decode), outcome.Dead):
                    return []
        return good

    async def _batch(self, passage: Passage, rows: Sequence[Decoded], *, attempt: int = 1) -> None:
        """One call for all rows; where that fails for good, the halves are tried until the culprit stands alone."""
        if self._route.dedupe_s:
            left = await self._without_repeats(passage, [delivery for delivery, _ in rows])
            positions = {delivery.position for delivery in left}
            rows = [row for row in rows if row[0].position in positions]
        if not rows or passage.cut:
            return
        deliveries = [delivery for delivery, _ in rows]
        messages = [message for _, message in rows]
        became = await self._attempts(passage, deliveries, lambda: messages, bury=len(rows) == 1, attempt=attempt)
        if isinstance(became, outcome.Dead) and len(rows) > 1:
            # What has used up its attempts together gets one more alone: else a failing dependency is asked for ever.
            attempt = 1 if became.reason == "permanent" else self._route.retry.attempts
            middle = len(rows) // 2
            for half in (rows[:middle], rows[middle:]):
                await self._batch(passage, [row for row in half if row[0].position in passage.open], attempt=attempt)

    # Attempts.

    async def _attempts(
        self,
        passage: Passage,
        deliveries: Sequence[Delivery],
        decode: Callable[[], Any],
        *,
        bury: bool = True,
        attempt: int = 1,
    ) -> outcome.Outcome:
        """Try until it is settled; a retry blocks its own lane only, and only for so long."""
        waited_s, doubtful = 0.0, self._route.dedupe_s > 0
        while True:
            if doubtful and deliveries:
                left = await self._without_repeats(passage, deliveries)
                if not left:
                    return outcome.Done()
                if len(left) < len(deliveries):  # of a batch, whose other rows were handled elsewhere meanwhile
                    decode = partial(list, _messages_of(left, deliveries, decode()))
                    deliveries = left
            if passage.cut is None:
                forget_cancellations()  # the handler that ran in this task before may have left one behind
            scope = self._scope(passage, deliveries)
            became = await carry(Attempt(self, passage, deliveries, decode, attempt, scope, bury=bury))
            match became:
                case outcome.Retry(after_s=wait_s, counts=counts):
                    attempt += counts
                case outcome.Release(after_s=after_s) if not _asked_to_end(passage):
                    wait_s = after_s or RELEASED_WAIT_S
                case _:
                    return became
            if self._stopping() or passage.owned.ending:
                return became
            if isinstance(became, outcome.Retry) and await self._put_aside(passage, became, attempt, waited_s + wait_s):
                return became
            doubtful = self.mounted.transactional  # a commit whose answer was lost may have taken place
            waited_s += wait_s
            passage.asleep = True
            try:
                if isinstance(became, outcome.Retry) or not self._held:
                    await self.clock.sleep(wait_s)
                if self._held and self.mounted.gate:
                    await self.mounted.gate.passable()
            finally:
                passage.asleep = False

    @property
    def _held(self) -> bool:
        """Something that the route needs is down."""
        return self.mounted.gate is not None and bool(self.mounted.gate.down)

    async def _put_aside(self, passage: Passage, became: outcome.Retry, attempt: int, waited_s: float) -> bool:
        """Into the ledger, when it would hold up its lane for too long. Batches hold up their partition."""
        if waited_s <= self._route.in_lane_s or self._route.batch is not None or not became.counts:
            return False
        if passage.owned.hold is None:
            return False
        delivery = passage.deliveries[0]
        after_s = became.after_s
        if passage.parked is not None:
            await self._until_answered(
                lambda: self._parking.postpone(passage, attempt=attempt, after_s=after_s, error=became.error)
            )
        else:
            await self._until_answered(
                lambda: self._park(passage, delivery, attempt=attempt, after_s=after_s, error=became.error)
            )
        return True

    async def _park(
        self, passage: Passage, delivery: Delivery, *, attempt: int = 1, after_s: float = 0.0, error: str = ""
    ) -> None:
        envelope = delivery.envelope
        await self._parking.park(
            passage,
            ToPark(
                envelope=envelope,
                position=delivery.position,
                lane=None if self._route.batch else passage.lane,
                attempt=attempt,
                after_s=after_s,
                due_at=envelope.not_before if attempt == 1 and not error else None,
                error=error,
            ),
        )
        self.metrics.add(metric.PARKED, address=self._route.address)
        self._finish(passage, [delivery])

    async def _without_repeats(self, passage: Passage, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        """Settles what was finished before: by a commit whose answer was lost, or under the same id. The rows of a
        batch are finished together, unless their ids are known."""
        hold = passage.owned.hold
        if hold is None:
            return deliveries
        if passage.parked is not None:
            return await self._without_repeat_of_parked(passage, hold, deliveries)
        ids = [one.envelope.id for one in deliveries] if self._route.dedupe_s else []
        positions = [one.position for one in deliveries]
        known = await self._until_answered(lambda: self._ledger.partitions.known(hold, positions=positions, ids=ids))
        seen, left, repeats = set(known.ids), [], []
        for delivery in deliveries:
            if delivery.position in known.positions or (ids and delivery.envelope.id in seen):
                repeats.append(delivery)
            else:
                left.append(delivery)
                if ids:
                    seen.add(delivery.envelope.id)
        if repeats:
            self._finish(passage, repeats)
            self.metrics.add(metric.MESSAGES_PROCESSED, len(repeats), address=self._route.address, outcome="repeated")
        return left

    async def _without_repeat_of_parked(
        self, passage: Passage, hold: Hold, deliveries: Sequence[Delivery]
    ) -> Sequence[Delivery]:
        """Another message of its id may have been handled while it waited."""
        ids = [one.envelope.id for one in deliveries] if self._route.dedupe_s else []
        if not ids or not (await self._until_answered(lambda: self._ledger.partitions.known(hold, ids=ids))).ids:
            return deliveries
        await self._until_answered(lambda: self._parking.remove(passage, committed=False))
        self._finish(passage, deliveries)
        self.metrics.add(metric.MESSAGES_PROCESSED, address=self._route.address, outcome="repeated")
        return ()

    def _scope(self, passage: Passage, deliveries: Sequence[Delivery]) -> Scope:
        if not self.mounted.transactional:
            return self._bare
        state = None
        if self.mounted.stateful:
            state = BatchState(self._ledger.states, passage.owned, _held(passage), deliveries)
        return StreamScope(
            self._adapters,
            self.mounted,
            passage.source(deliveries),
            partial(self._transaction, passage, deliveries),
            always=bool(deliveries) and (self._route.dedupe_s > 0 or self.mounted.stateful),
            added=self._added,
            state=state,
            sources=deliveries if self._route.batch else (),
        )

    def _transaction(
        self, passage: Passage, deliveries: Sequence[Delivery], *, handled: bool = True
    ) -> AbstractAsyncContextManager[Tx]:
        name = (self._name + passage.source(deliveries).correlation_id)[:63]
        counted = self._route.dedupe_s > 0 and handled
        ids = [one.envelope.id for one in deliveries if one.position in passage.open] if counted else []
        if passage.parked is not None:
            return self._ledger.parking.transaction(passage.parked, name=name, ids=ids, dedupe_s=self._route.dedupe_s)
        if not deliveries:
            return self._ledger.partitions.transaction(_held(passage), None, name=name)
        first, *besides = passage.spans([one.position for one in deliveries])
        return self._ledger.partitions.transaction(
            _held(passage), first, name=name, ids=ids, dedupe_s=self._route.dedupe_s, besides=besides
        )

    # Ends.

    async def settle(self, attempt: Attempt, became: outcome.Outcome) -> None:
        """What becomes of the messages of an attempt that came to this."""
        passage, deliveries = attempt.passage, attempt.deliveries
        metrics, address = self.metrics, self._route.address
        kind = type(became).__name__.lower()
        metrics.add(metric.MESSAGES_PROCESSED, len(deliveries), address=address, outcome=kind)
        match became:
            case outcome.Done() | outcome.Cancelled():
                passage.owned.blocked = False
                fate: Fate = "finished" if isinstance(became, outcome.Done) else "cancelled"
                if passage.parked is not None:
                    committed = isinstance(attempt.scope, StreamScope) and attempt.scope.committed
                    await self._until_answered(lambda: self._parking.remove(passage, committed=committed))
                self._finish(passage, deliveries, fate)
            case outcome.Dead(error=error) if passage.tick is not None:
                self._adapters.log.error("nothing came, and its handler failed at that", address=address, error=error)
            case outcome.Dead() if attempt.bury:
                for delivery in deliveries:
                    await self._bury(passage, delivery, became, attempts=attempt.attempt)
            case outcome.Retry(after_s=after_s, error=error):
                metrics.add(metric.RETRIES, len(deliveries), address=address)
                self._adapters.log.warn("will be tried again", address=address, after_s=round(after_s, 1), error=error)
            case outcome.Release(reason="lease lost"):
                self._lost(passage.owned)
            case outcome.Release(blocked=True, reason=reason, after_s=after_s):
                metrics.add(metric.BLOCKED, address=address)
                partition = passage.owned.assignment.partition.index
                passage.owned.blocked = True
                self._adapters.log.error("blocked", address=address, partition=partition, error=reason, after_s=after_s)
            case _:
                pass  # a release is handed back, or tried again; the halves of a batch are tried next

    async def _bury(self, passage: Passage, delivery: Delivery, dead: outcome.Dead, *, attempts: int = 0) -> None:
        """Into the dead letters and finished, in one transaction: it may be another's by now, who handles it well.
        While the ledger is down the message is kept, and its lane waits."""
        letter = dead_letter(delivery, dead, group=self._route.group, attempts=attempts)
        await self._until_answered(partial(self._end_in_letters, passage, delivery, letter))
        if passage.parked is not None:
            await self._until_answered(lambda: self._parking.remove(passage, committed=True))
        self.metrics.add(metric.DEAD_LETTERS, address=self._route.address, reason=dead.reason)
        self._adapters.log.error(
            "buried", address=self._route.address, id=letter.id, reason=dead.reason, error=dead.error
        )
        self._finish(passage, [delivery], well=False)

    def _finish(
        self, passage: Passage, deliveries: Sequence[Delivery], fate: Fate = "finished", *, well: bool = True
    ) -> None:
        passage.finish(deliveries)
        self._tell(deliveries, fate, well=well)

    async def _end_in_letters(self, passage: Passage, delivery: Delivery, letter: DeadLetter) -> None:
        async with self._transaction(passage, [delivery], handled=False) as tx:
            await self._ledger.dead_letters.bury([letter], tx=tx)

    async def _hand_back(self, passage: Passage) -> None:
        for delivery in tuple(passage.open.values()):
            await passage.release(delivery)
            self._tell([delivery], "requeued")

    async def _until_answered(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """What only the ledger can do is tried until it answers; meanwhile the message is kept, and its lane waits.
        Raises `LeaseLost`."""
        failures = 0
        while True:
            try:
                return await ask()
            except Unavailable as error:
                failures += 1
                self._adapters.log.warn("a message waits for the ledger", address=self._route.address, error=str(error))
                await self.clock.sleep(min(LEDGER_RETRY_MAX_S, 0.1 * 2.0**failures))


def _messages_of(left: Sequence[Delivery], deliveries: Sequence[Delivery], messages: Sequence[Any]) -> list[Any]:
    positions = {delivery.position for delivery in left}
    return [message for one, message in zip(deliveries, messages, strict=True) if one.position in positions]


def _held(passage: Passage) -> Hold:
    if passage.owned.hold is None:
        raise Unavailable("the ledger", "it did not answer when the partition was assigned")
    return passage.owned.hold


def _asked_to_end(passage: Passage) -> bool:
    return passage.cut is not None or being_cancelled()
