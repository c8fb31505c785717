"""One schedule: processes and what they share, the faults, and the way from the first message until all is quiet."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from typing import Any

import msgspec

from adapters.bus.identity import identified
from adapters.bus.memory.log import MemoryLog
from adapters.bus.memory.member import Member
from adapters.ledger.memory import MemoryLedger
from contracts.errors import Conflict, MillraceError, NotFound, Permanent, Transient, Unavailable
from contracts.message import Delivery, Envelope, Partition
from runtime.worker import Worker
from tests.simulation.adapters import SimAdapters, settings_of
from tests.simulation.clock import SimClock
from tests.simulation.handlers import STAGE, module_of
from tests.simulation.loop import OWNER, SimLoop
from tests.simulation.plan import CALM_AT_S, ORDERS, PINGS, ROWS, STEPS, TAKEN, Incident, Plan, Planned
from tests.simulation.process import FATES, Fate, Process
from tests.simulation.verdict import Verdict

QUIET_BY_S = 300.0
LOOK_EVERY_S = 0.25
DRAIN_SLACK_S = 11.0
"""Hooks and adapters have 5 s of their own after the cut, which has 5 s; and calls take a while."""
MOST_STALLS = 2

Event = tuple[float, str, str, str]


class World:
    """Made for one plan, and run once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.chance = random.Random(f"run {plan.seed}")
        self.loop = SimLoop(self.chance, fifo=plan.fifo)
        self.loop.on_error = self._loop_error
        self.clock = SimClock(self.loop, self.chance)
        self.log = MemoryLog(self.clock)
        self.ledger = MemoryLedger(self.clock)
        self.books = self.ledger._books
        self.context = contextvars.copy_context()
        self.context.run(OWNER.set, "")
        self.planned = {one.id: one for one in plan.messages}
        self.processes: list[Process] = []
        self.trace: list[Event] = []
        self.happened: Counter[str] = Counter()
        self.relaying: dict[str, set[int]] = {}
        self.runs: Counter[str] = Counter()
        self.begun = count(1)
        self.verdict = Verdict(self)
        self.calm = False
        self.over = False
        self.down_until = 0.0
        self.violation = ""
        self.error: BaseException | None = None
        self._crashes_left = plan.crashes
        self._stalls_left = MOST_STALLS
        self._dies_sending = plan.dies_sending
        for address, partitions in ((ORDERS, 2), (ROWS, 2), (PINGS, 2), (TAKEN, 2)):
            self.log.declare(address, partitions, delays=plan.delays)

    # What is seen.

    def note(self, who: str, what: str, detail: str = "") -> None:
        if self.over:
            return
        self.trace.append((round(self.loop.time(), 6), who, what, detail))

    def violated(self, text: str) -> None:
        """The schedule ends here."""
        if not self.violation:
            self.violation = text
            self.note("", "VIOLATION", text)
            self.loop.stop()

    def apply(self, process: Process, address: str, id_: str) -> None:
        """An effect is committed."""
        self.note(process.name, "effect", f"{address} {id_}")
        self.verdict.applied(address, id_)

    def published(self, process: Process, envelopes: Sequence[Envelope]) -> None:
        """What was emitted is on the bus."""
        for one in envelopes:
            self.note(process.name, "sends", f"{one.address} {one.id}")
            self.verdict.sent(one)

    def fetched(self, process: Process, deliveries: Sequence[Delivery]) -> None:
        first, last = deliveries[0], deliveries[-1]
        self.note(
            process.name,
            "fetched",
            f"{first.partition.address}/{first.partition.index} {first.position} to {last.position}: "
            f"{' '.join(one.envelope.id for one in deliveries)}",
        )
        self.verdict.saw(deliveries)

    def committed(self, process: Process, partition: Partition, position: int) -> None:
        self.note(process.name, "commits", f"{partition.address}/{partition.index} {position}")
        self.verdict.committed("the bus", partition, position)

    # Faults.

    def fate_of_call(self, process: Process) -> Fate | None:
        draw = self.chance.random()
        if self.calm or draw >= self.plan.fault_rate:
            return None
        fate = FATES[int(draw / self.plan.fault_rate * len(FATES))]
        if fate.startswith("crash"):
            if not self._crashes_left:
                return "lost"
            self._crashes_left -= 1
        elif fate.startswith("stall"):
            if not self._stalls_left:
                return "late"
            self._stalls_left -= 1
        self.happened[fate] += 1
        return fate

    async def sent_by(self, process: Process) -> None:
        """The bus has confirmed what this process sent from the outbox."""
        if self._dies_sending and not self.calm and self.chance.random() < 0.3:
            self._dies_sending = False
            self.happened["deaths of senders"] += 1
            await process.crash("between the bus and the outbox")

    def crash(self, process: Process, where: str) -> None:
        if process.dead:
            return
        process.dead = True
        self.happened["crashes"] += 1
        self.happened[f"crash {where}" if where.startswith("by ") else "chance deaths"] += 1
        self.loop.block(process.name)
        self.note(process.name, "CRASH", where)
        self.ledger.outbox._sending -= self.relaying.pop(process.name, set())
        self._start(self._bury(process))

    async def _bury(self, process: Process) -> None:
        await self.clock.sleep(self.plan.session_s)
        self.note(process.name, "taken for dead")
        for member in process.members:
            member.evict()
        if self.chance.random() < 0.7:
            await self.clock.sleep(self.chance.random())
            self.start_process()

    def stall(self, process: Process, for_s: float, where: str) -> None:
        if process.dead or self.loop.blocked(process.name):
            return
        self.happened["stalls"] += 1
        self.loop.block(process.name)
        process.held_up_s += for_s
        self.note(process.name, "STALL", f"for {for_s:.3f} s, {where}")
        self._start(self._stand_still(process, for_s))

    async def _stand_still(self, process: Process, for_s: float) -> None:
        await self.clock.sleep(min(for_s, self.plan.session_s))
        if for_s > self.plan.session_s:
            self._put_out(process)
            await self.clock.sleep(for_s - self.plan.session_s)
            self._let_in(process)
        if not process.dead:
            self.note(process.name, "goes on")
            self.loop.unblock(process.name)

    def _put_out(self, process: Process) -> None:
        process.out += 1
        if process.out == 1:
            self.happened["put out"] += 1
            self.happened["chance deaths"] += 1
            self.note(process.name, "put out of its groups")
            for member in process.members:
                member.freeze()

    def _let_in(self, process: Process) -> None:
        process.out -= 1
        if process.out == 0 and not process.dead:
            self.note(process.name, "comes back into its groups")
            self.loop.create_task(_thaw(process), name="thaw", context=process.context.copy())

    async def _cut_off(self, process: Process, for_s: float) -> None:
        self._put_out(process)
        await self.clock.sleep(for_s)
        self._let_in(process)

    async def _befall(self) -> None:
        for incident in sorted(self.plan.incidents, key=lambda one: one.at_s):
            await self._until(incident.at_s)
            living = [process for process in self.processes if not process.ended]
            if living:
                self._happen(incident, living[int(incident.who * len(living))])

    def _happen(self, incident: Incident, process: Process) -> None:
        self.happened[incident.kind] += 1
        self.note(process.name, incident.kind.upper(), f"{incident.for_s:.3f} s")
        until = self.loop.time() + incident.for_s
        match incident.kind:
            case "crash":
                self.crash(process, "at any time")
            case "stall":
                self.stall(process, incident.for_s, "at any time")
            case "cut off":
                self._start(self._cut_off(process, incident.for_s))
            case "leave":
                self.leave(process)
            case "join":
                self.start_process()
            case "outage":
                self.down_until = max(self.down_until, until)
            case "outage of one":
                process.cut_off_until = max(process.cut_off_until, until)

    async def _cancel(self) -> None:
        """Someone asks for the end of jobs, by the ledger itself."""
        asked = [one for one in self.plan.messages if one.cancelled_at_s is not None]
        for one in sorted(asked, key=lambda one: one.cancelled_at_s or 0.0):
            await self._until(one.cancelled_at_s or 0.0)
            try:
                state = await self.ledger.desk.cancel(one.id)
            except (NotFound, Conflict) as error:
                self.note("", "can't cancel", str(error))
                continue
            self.happened["cancel"] += 1
            self.note("", "cancels", f"{one.id}, which is {state.value}")
            self.verdict.cancelled(one.id)

    # Processes.

    def start_process(self) -> None:
        process = Process(self, f"w{len(self.processes) + 1}")
        process.context.run(STAGE.set, ProcessStage(self, process))
        self.processes.append(process)
        self.note(process.name, "starts")
        process.life = self.loop.create_task(
            self._live(process), name=f"life of {process.name}", context=process.context.copy()
        )

    async def _live(self, process: Process) -> None:
        adapters = SimAdapters(self, process)
        process.worker = worker = Worker(settings_of(self.plan), [module_of(self.plan.variant)], adapters=adapters)
        try:
            await worker.start()
        except MillraceError as error:
            self.note(process.name, "could not start", str(error))
            return
        self.note(process.name, "started")
        await worker.supervisor.stopping.wait()
        if worker.supervisor.failed:
            self.violated(f"{process.name} gave up: {worker.supervisor.reason}")
        began_at, held_up_s = self.loop.time(), process.held_up_s
        calmly = self.calm and process.late_until <= began_at
        self.note(process.name, "drains", worker.supervisor.reason)
        process.report = await worker.stop()
        took_s = self.loop.time() - began_at - (process.held_up_s - held_up_s)
        self.note(process.name, "left", str(process.report))
        if calmly and held_up_s == process.held_up_s and process.report.faults:
            self.violated(f"{process.name} left with faults: {process.report.faults}")
        if took_s > self.plan.drain_timeout_s + DRAIN_SLACK_S:
            self.violated(f"{process.name} took {took_s:.1f} s to drain, of {self.plan.drain_timeout_s:g} s")

    def leave(self, process: Process) -> None:
        """SIGTERM."""
        worker = getattr(process, "worker", None)
        if worker is not None and not worker.supervisor.stopping.is_set():
            worker.supervisor.stop("it is to leave")

    # The way.

    async def run(self) -> None:
        """From the beginning to the end; `violation` says what was found."""
        self._start(self.log.keep_time())
        for _ in range(self.plan.workers):
            self.start_process()
        self._start(self._publish())
        self._start(self._befall())
        self._start(self._cancel())
        await self._until(CALM_AT_S)
        self.calm = True
        self.down_until = 0.0
        for process in self.processes:
            process.cut_off_until = 0.0
        self.note("", "calm")
        while open_ := self.verdict.open():
            if self.loop.time() > QUIET_BY_S:
                self.violated("it never became quiet: " + "; ".join(open_))
            if all(process.ended for process in self.processes):
                self.start_process()
            await self.clock.sleep(LOOK_EVERY_S)
        self.note("", "quiet")
        await self._all_leave()
        if fault := self.verdict.at_the_end():
            self.violated(fault)

    async def _all_leave(self) -> None:
        while living := [process for process in self.processes if not process.ended]:
            for process in living:
                self.leave(process)
            await self.clock.sleep(LOOK_EVERY_S)

    async def _publish(self) -> None:
        for one in self.plan.messages:
            await self._until(one.at_s)
            await self._send(one)
        for one in self.plan.messages:
            for _ in range(one.repeats):
                await self._send(one)
        self.verdict.all_published = True

    async def _send(self, one: Planned) -> None:
        body: dict[str, Any] = {"id": one.id}
        if one.address == STEPS:
            body["steps"] = one.steps
        else:
            body["key"] = one.key
        encoded = b"{" if one.behaviour == "garbled" else msgspec.json.encode(body)
        now = self.clock.now()
        self.note("", "publishes", f"{one.address} {one.id} key {one.key} {one.behaviour}")
        envelope = Envelope(
            id=one.id,
            address=one.address,
            body=encoded,
            key=one.key,
            not_before=now + timedelta(seconds=one.delay_s) if one.delay_s else None,
            priority=one.priority,
        )
        await self.log.publish(identified(envelope, self.clock))

    async def _until(self, at_s: float) -> None:
        await self.clock.sleep(max(0.0, at_s + 1.0 - self.loop.time()))

    def _start(self, work: Any) -> None:
        task = self.loop.create_task(work, context=self.context.copy())
        task.add_done_callback(self._world_ended)

    def _world_ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()):
            raise error

    def _loop_error(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.violated(f"asyncio: {context.get('message')}: {error!r}")
        self.error = self.error or error


class ProcessStage:
    """Implements `tests.simulation.handlers.Stage` for the handlers of one process."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process

    def begins(self) -> int:
        return next(self._world.begun)

    async def acts(self, id_: str) -> None:
        world, one = self._world, self._world.planned[id_]
        world.runs[id_] += 1
        run = world.runs[id_]
        world.note(self._process.name, "handles", f"{id_} run {run}")
        if one.pause_s:
            await world.clock.sleep(one.pause_s)
        match one.behaviour:
            case "wrong":
                raise Permanent("wrong")
            case "hopeless":
                raise RuntimeError("hopeless")
            case "poison":
                await self._process.crash(f"by {id_}")
            case "deadly" if run <= one.times:
                await self._process.crash(f"by {id_}")
            case "starved" if run <= one.times:
                raise Unavailable("the crm", "simulated")
            case "flaky" if run <= one.times and _fails_early(one):
                raise Transient("flaky")

    async def acted(self, id_: str) -> None:
        world, one = self._world, self._world.planned[id_]
        if world.chance.random() < 0.3:
            await world.clock.sleep(world.chance.random() * 0.2)
        if one.behaviour == "flaky" and world.runs[id_] <= one.times and not _fails_early(one):
            raise RuntimeError("flaky, after its effect")

    def joins(self, member: Member) -> None:
        self._process.members.append(member)

    def handled(self, address: str, id_: str) -> None:
        self._world.note(self._process.name, "handled", f"{address} {id_}")
        self._world.verdict.applied(address, id_)


async def _thaw(process: Process) -> None:
    for member in process.members:
        await member.thaw()


def _fails_early(one: Planned) -> bool:
    return int(one.id[1:]) % 2 == 0
