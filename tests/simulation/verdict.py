"""What must be true, at each commit and at the end; known from outside, by effects, never by what the core believes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from contracts.job import JobState
from contracts.message import Delivery, Envelope, Partition
from contracts.ports.ledger import CRASH_CAP
from tests.simulation.plan import ALONE, ENDS_IN_LETTERS, JOBS, ORDERS, PINGS, ROWS, STEPS, TRANSACTIONAL, Planned

if TYPE_CHECKING:
    from tests.simulation.world import World


class Verdict:
    """Hears of each effect, fetch and commit of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.all_published = False
        self.effects: list[tuple[str, str]] = []
        self._counts: Counter[tuple[str, str]] = Counter()
        self._at: dict[tuple[Partition, int], str] = {}
        self._first_at: dict[str, int] = {}
        self._sent: dict[str, str] = {}
        self._claims_at_cancel: dict[str, int] = {}
        self._checked: defaultdict[tuple[str, Partition], int] = defaultdict(int)

    # At each step.

    def applied(self, address: str, id_: str) -> None:
        """An effect is there for good."""
        self.effects.append((address, id_))
        self._counts[address, id_] += 1
        if address != PINGS and self._counts[address, id_] > 1:
            self._world.violated(f"applied twice: {address} {id_}")

    def sent(self, envelope: Envelope) -> None:
        """On the bus, from the outbox: by its id once, or again after a crash."""
        source = msgspec.json.decode(envelope.body)["id"]
        if self._sent.setdefault(envelope.id, source) != source:
            self._world.violated(f"{envelope.id} was sent for {self._sent[envelope.id]} and for {source}")
        if not self._counts[ORDERS, source]:
            self._world.violated(f"something was sent for {source}, which has no effect")

    def cancelled(self, job_id: str) -> None:
        """Someone was told that it is, or will be."""
        self._claims_at_cancel.setdefault(job_id, self._world.books.jobs[job_id].claims)

    def saw(self, deliveries: Sequence[Delivery]) -> None:
        """Which message is where."""
        for one in deliveries:
            self._at[one.partition, one.position] = one.envelope.id
            self._first_at.setdefault(one.envelope.id, one.position)

    def committed(self, where: str, partition: Partition, position: int) -> None:
        """Everything below a committed position must be accounted for by now."""
        known = self._checked[where, partition]
        for at in range(known, position):
            id_ = self._at.get((partition, at))
            place = f"{partition.address}/{partition.index}@{at}"
            if id_ is None:
                self._world.violated(f"{where} was told that {place} is finished, which nobody fetched")
            elif not self._accounted(partition, at, id_):
                self._world.violated(f"{where} was told that {place} is finished, and {id_} is not")
        self._checked[where, partition] = max(known, position)

    def _accounted(self, partition: Partition, position: int, id_: str) -> bool:
        address, books = partition.address, self._world.books
        if self._counts[address, id_] or self._lettered(address, id_):
            return True
        if address in JOBS:
            return id_ in books.jobs
        row = books.partitions.get(("sim", partition))
        return row is not None and any(one.message.position == position for one in row.parked.values())

    def _lettered(self, address: str, id_: str) -> bool:
        return any(letter.id == id_ and letter.address == address for letter in self._world.books.letters.values())

    # While all come to their end.

    def open(self) -> list[str]:
        """What is not at its end yet; empty when all is quiet."""
        return list(self._open())

    def _open(self) -> Iterator[str]:
        if not self.all_published:
            yield "not all is published"
            return
        for one in self._world.plan.messages:
            yield from self._open_job(one) if one.address in JOBS else self._open_message(one)
        if unsent := sum(map(len, self._world.ledger.outbox._shards)):
            yield f"{unsent} wait in the outbox"
        yield from self._open_places()
        for process in self._world.processes:
            if not process.dead and self._world.loop.blocked(process.name):
                yield f"{process.name} stands still"

    def _open_job(self, one: Planned) -> Iterator[str]:
        job = self._world.books.jobs.get(one.id)
        if job is None:
            yield f"{one.id} was never recorded"
        elif not job.state.final:
            yield f"job {one.id} is {job.state.value}, of worker {job.worker_id}"

    def _open_message(self, one: Planned) -> Iterator[str]:
        if not self._counts[one.address, one.id] and not self._lettered(one.address, one.id):
            yield f"{one.id} of {one.address} ({one.behaviour}) has neither effect nor letter"

    def _open_places(self) -> Iterator[str]:
        for address, topic in self._world.log._topics.items():
            for group, lag in topic.stats().lag.items():
                if lag:
                    yield f"{lag} of {address} are not committed for {group}"
        for (_, partition), row in self._world.books.partitions.items():
            if row.parked:
                yield f"{len(row.parked)} of {partition.address}/{partition.index} are parked"

    # At the end.

    def at_the_end(self) -> str:
        """What is wrong, or nothing."""
        return next(self._wrong(), "")

    def _wrong(self) -> Iterator[str]:
        for one in self._world.plan.messages:
            yield from self._wrong_with_job(one) if one.address in JOBS else self._wrong_with(one)
        yield from self._out_of_order()
        yield from self._wrong_with_sent()
        yield from self._beside_each_other()
        yield from self._left()

    def _wrong_with(self, one: Planned) -> Iterator[str]:
        times, lettered = self._counts[one.address, one.id], self._lettered(one.address, one.id)
        happened = self._world.happened
        if one.address in TRANSACTIONAL and times + lettered != 1:
            yield f"{one.id} has {times} effects and {'a' if lettered else 'no'} letter"
        if lettered and one.behaviour not in ENDS_IN_LETTERS and not self._may_be_buried(one):
            yield f"{one.id} ({one.behaviour}) was buried: {self._reason(one)}"
        most = CRASH_CAP * (1 + one.repeats) + happened["chance deaths"]
        # A route that goes on while the ledger is down can't say what it starts: nobody suspects it of its deaths then.
        blind = happened["taken without the ledger"] + happened["positions are not in the ledger yet"]
        if one.behaviour == "poison" and (kills := happened[f"crash by {one.id}"]) > most and not blind:
            yield f"{one.id} (poison) killed {kills} processes"
        if one.behaviour in ENDS_IN_LETTERS and not lettered:
            yield f"{one.id} ({one.behaviour}) was not buried"

    def _may_be_buried(self, one: Planned) -> bool:
        """The kinds of bad luck that end an innocent message: with others in one batch, or alone at every crash."""
        if self._reason(one) == "poison":
            own = one.times if one.behaviour == "deadly" else 0
            return self._world.happened["chance deaths"] + own >= CRASH_CAP - 1
        return one.address == ROWS and one.behaviour in ("flaky", "starved")

    def _reason(self, one: Planned) -> str:
        letters = self._world.books.letters.values()
        return next(letter.reason for letter in letters if letter.id == one.id and letter.address == one.address)

    def _wrong_with_job(self, one: Planned) -> Iterator[str]:
        job = self._world.books.jobs.get(one.id)
        if job is None:
            return
        steps = [id_ for address, id_ in self.effects if address == STEPS and id_.split()[0] == one.id]
        expected = [f"{one.id} step {step}" for step in range(one.steps)]
        if job.state is JobState.DONE and steps != expected:
            yield f"job {one.id} is done with {steps}, instead of {expected}"
        elif steps != expected[: len(steps)]:
            yield f"job {one.id} has done {steps}"
        claims = self._claims_at_cancel.get(one.id)
        if claims is not None and job.claims != claims:
            yield f"job {one.id} was claimed again after its cancellation"
        poison = job.state is JobState.FAILED and job.crashes >= CRASH_CAP
        if job.state is not JobState.DONE and not poison and (claims is None or job.state is not JobState.CANCELLED):
            yield f"job {one.id} is {job.state.value}: {job.error}"

    def _beside_each_other(self) -> Iterator[str]:
        """Between the first and the last effect of one run, both of which its fence let through, there is none of
        another job of its key."""
        last: dict[str | None, str] = {}
        for address, id_ in self.effects:
            if address == ALONE:
                job, what, run = id_.split()
                key = self._world.planned[job].key
                if what == "ends" and last.get(key) != f"{job} begins {run}":
                    yield f"beside {job} of key {key} another one ran: {last.get(key)}"
                last[key] = id_

    def _wrong_with_sent(self) -> Iterator[str]:
        """Each effect has sent one message, and those of one key in the order of effects."""
        if not self._world.plan.variant.emits:
            return
        taken = [id_ for address, id_ in self.effects if address == ORDERS]
        sent = list(self._sent.values())
        if sorted(taken) != sorted(sent):
            yield f"sent for {sorted(sent)}, and there are effects of {sorted(taken)}"
        for key in {self._world.planned[id_].key for id_ in taken} - {None}:
            of_key = [[id_ for id_ in ids if self._world.planned[id_].key == key] for ids in (taken, sent)]
            if of_key[0] != of_key[1]:
                yield f"sent out of order in key {key}: {of_key[1]}, and the effects are {of_key[0]}"

    def _out_of_order(self) -> Iterator[str]:
        """By key, effects come in the order of positions; of what may come twice, the first time counts."""
        last: dict[tuple[str, str], tuple[int, str]] = {}
        seen = set()
        for address, id_ in self.effects:
            one = self._world.planned.get(id_)
            if one is None or one.key is None or self._may_overtake(one) or (address, id_) in seen:
                continue
            seen.add((address, id_))
            position = self._first_at[id_]
            before, name = last.get((address, one.key), (-1, ""))
            if position < before:
                yield f"out of order in key {one.key} of {address}: {id_} ({position}) after {name} ({before})"
            last[address, one.key] = position, id_

    def _may_overtake(self, one: Planned) -> bool:
        """What has no promise of order: a row of a batch that is early is one by itself; and a route that does not need
        the ledger goes on while that is down, and cannot know then what waits there."""
        blind = one.address == PINGS and self._world.happened["taken without the ledger"] > 0
        early = one.address == ROWS and one.delay_s > 0 and not self._world.plan.delays
        return blind or early or one.repeats > 0

    def _left(self) -> Iterator[str]:
        living = {process.name for process in self._world.processes if not process.dead}
        for task in self._world.loop.tasks:
            if not task.done() and task.owner in living:
                yield f"{task.owner} ended and left a task behind: {task.get_name()}"
