"""A worker: the modules of one process, mounted on the bus, with everything that serves them.

settings ─▶ adapters ─▶ routes mounted ─▶ start … stop ─▶ drain report
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec

from contracts import metrics as metric
from contracts.errors import Faults
from contracts.message import Envelope
from contracts.module import JobRoute, Module, StreamRoute
from contracts.ports.ledger import Recorded
from contracts.ports.ledger import Worker as WorkerRow
from runtime import descriptor, injection, migrating, process, registry
from runtime.jobs.dispatcher import Dispatcher
from runtime.jobs.handle import JobHandle
from runtime.jobs.housekeeping import Housekeeping
from runtime.jobs.intake import Intake, JobConsumer
from runtime.jobs.lease import Lease
from runtime.jobs.scope import JobScope
from runtime.jobs.settler import Settler
from runtime.jobs.strays import Strays
from runtime.loops import Loops
from runtime.outbox import FULL, OutboxRelay
from runtime.peers import Peers, contracts_of
from runtime.pipeline import Mounted
from runtime.policy.drain import Phase
from runtime.publishing import publishing
from runtime.settings import Settings
from runtime.streams.consumer import StreamConsumer
from runtime.streams.routes import Streams
from runtime.supervision import Supervision
from runtime.supervisor import DrainReport, Step, Supervisor
from runtime.tasks import Tasks
from runtime.version import version
from runtime.wiring import PROVIDED, Adapters, lacking

OUTBOX_FLUSH_S = 5.0
"""What is left in the outbox after that is sent by other workers, or by the next one that starts."""


class Worker:
    """Made without I/O, but for the catalog's; `start` opens everything, `stop` drains and closes it. Neither is
    entered twice."""

    def __init__(
        self,
        settings: Settings,
        modules: Sequence[Module],
        *,
        adapters: Adapters | None = None,
        only: Sequence[str] = (),
        arguments: Mapping[str, msgspec.Struct] | None = None,
    ) -> None:
        """`arguments` are those of modules that run until they are stopped, by name."""
        self.settings = settings
        self.adapters = adapters = adapters or Adapters(settings)
        self.modules = modules = registry.configured(modules, adapters.catalog, arguments or {})
        self.needs = injection.check(modules, PROVIDED, lacking(settings))
        self.clock, self.log, self.metrics = adapters.clock, adapters.log, adapters.metrics
        self.made_at = self.clock.monotonic()
        self.ready_at: float | None = None
        self.supervisor = Supervisor(
            timeout_s=settings.drain_timeout_s, clock=self.clock, log=self.log, metrics=self.metrics
        )
        self.tasks = Tasks()
        self.loops = Loops(self.tasks, self.clock, self.log, self._crashed, metrics=self.metrics)
        self.peers = Peers(lambda: adapters.ledger, contracts_of(modules))
        self.supervision = Supervision(
            adapters, peers=self.peers, sync_threads=settings.sync_threads, loop_stall_s=settings.loop_stall_s
        )
        self._all_mounted = self._mount_all()
        self.mounted: dict[str, Mounted] = {}
        """By address; where several groups read one stream, any of them: they agree on what a message is."""
        for one in self._all_mounted:
            self.mounted.setdefault(one.route.address, one)
        self._wire_jobs(only)
        self._wire_streams()
        self.outbox = OutboxRelay(
            adapters.ledger,
            adapters.bus,
            most=settings.outbox_max,
            clock=self.clock,
            log=self.log,
            metrics=self.metrics,
        )
        self.outbox.subscribe(self._outbox_is_full)
        self.http: Any = None
        self.before_closing: list[Step] = []
        """Run after the modules' shutdown hooks, when nothing is in flight any more and everything is still open."""
        self._give_logging_back: Callable[[], None] = lambda: None

    # Wiring: no I/O.

    def _mount_all(self) -> list[Mounted]:
        mounted = []
        for module in self.modules:
            for route in module.routes:
                needs = self.needs[module.name, injection.place_of(route)]
                made = {name: getattr(self.adapters, port) for name, port in needs.per_process.items()}
                mounted.append(self.supervision.mounted(module, route, made, needs))
        return mounted

    def _wire_jobs(self, only: Sequence[str]) -> None:
        ledger = self.adapters.ledger
        row = WorkerRow(
            id="",
            host=socket.gethostname(),
            pid=os.getpid(),
            modules=tuple(module.name for module in self.modules),
            version=version(),
            schema=migrating.newest_known(),
            contracts=self.peers.contracts,
        )
        self.lease = Lease(
            ledger.leases,
            row,
            lease_s=self.settings.worker_lease_s,
            clock=self.clock,
            log=self.log,
            on_lost=lambda: self.dispatcher.lease_lost(),
        )
        self.settler = Settler(ledger.queue, self.clock, self.log)
        jobs = {address: one for address, one in self.mounted.items() if isinstance(one.route, JobRoute)}
        self.dispatcher = Dispatcher(
            routes=jobs,
            ledger=ledger,
            lease=self.lease,
            settler=self.settler,
            make_scope=self._job_scope,
            tasks=self.tasks,
            slots=self.settings.job_slots,
            clock=self.clock,
            log=self.log,
            metrics=self.metrics,
            only=only,
        )
        self.strays = Strays(self.dispatcher, ledger, self.lease, self.clock, self.log)
        self.intake = Intake(
            ledger, self.dispatcher, self.lease, self.peers, clock=self.clock, log=self.log, metrics=self.metrics
        )
        self.housekeeping = Housekeeping(ledger, self.clock, self.log, self.metrics)
        for one in jobs.values():
            self.adapters.bus.mount(JobConsumer(one, self.intake), schema=descriptor.schema_of(one.route.contract))

    def _job_scope(self, mounted: Mounted, handle: JobHandle) -> JobScope:
        return JobScope(self.adapters, mounted, handle)

    def _wire_streams(self) -> None:
        self.streams = Streams(self.clock, lambda: self.adapters.ledger, self.log)
        for one in self._all_mounted:
            if isinstance(one.route, StreamRoute):
                consumer = StreamConsumer(
                    one,
                    self.adapters,
                    self.tasks,
                    worker_id=lambda: self.lease.row_id,
                    solitude=self.streams.solitude,
                    hurry=self.streams.hurry,
                    added=lambda: self.outbox.wake(),
                )
                self.streams.add(consumer)
                if one.gate:
                    one.gate.subscribe(consumer)
                self.adapters.bus.mount(consumer, schema=descriptor.schema_of(one.route.contract))

    def _outbox_is_full(self, full: bool) -> None:
        for consumer in self.streams.consumers:
            if consumer.mounted.emits:
                consumer.pause(FULL) if full else consumer.resume(FULL)

    # Life.

    async def start(self) -> None:
        """Raises what kept it from starting, after everything that was opened is closed again."""
        try:
            await self._open()
            self._give_logging_back = self.adapters.take_over_logging()
            await self._begin()
        except BaseException:
            await self.supervision.stop()
            await self.loops.stop()
            if self.http:
                await self.http.stop()
            await self.adapters.close()
            self._give_logging_back()
            raise
        self.ready_at = self.clock.monotonic()
        self.supervisor.enter(Phase.RUNNING)
        for module in self.modules:
            self.metrics.set(metric.STARTUP_TIME, (self.ready_at - self.made_at) * 1000, module=module.name)
        self.log.info("started", **descriptor.summary(self))
        if self.http:
            await self.http.tell_who_may_ask()

    async def _open(self) -> None:
        if self.http:
            await self.http.start()
        if self.adapters.traces:
            await self.adapters.open("traces")
        await self.adapters.open("db")
        await self._migrate()
        await self.adapters.open("ledger")
        asked = {name for needs in self.needs.values() for name in needs.adapters}
        for name in sorted(asked - {"db", "bus", "metrics", "clock", "catalog"}):
            await self.adapters.open(name)
        await self.adapters.open("bus")

    async def _migrate(self) -> None:
        if "db" in self.adapters.opened:  # else the ledger stands on no database
            await migrating.fit(self.adapters.db, auto=self.settings.auto_migrate, log=self.log)

    def _check_flags(self) -> None:
        flags = [flag for module in self.modules for flag in module.flags]
        if flags and (faults := self.adapters.flags.faults(flags)):
            raise Faults("flags", faults)

    async def _begin(self) -> None:
        self._check_flags()
        for module in self.modules:
            for hook in module.startup_hooks:
                await self._call_hook(module, hook)
        await self.lease.join(http=self.http.address if self.http else "")
        self.supervision.start(self.loops)
        start = self.loops.start
        start("lease", self.lease.run)
        start("settle", self.settler.run)
        start("listen", self.dispatcher.listen)
        start("claim", self.dispatcher.run)
        start("poll", self.dispatcher.poll)
        start("note", self.dispatcher.note)
        start("strays", self.strays.run)
        start("intake", self.intake.run)
        start("reap", partial(self.housekeeping.reap, every_s=self.settings.worker_lease_s / 2))
        start("count", self.housekeeping.count)
        start(
            "prune",
            partial(
                self.housekeeping.prune,
                keep_jobs=timedelta(days=self.settings.jobs_keep_days),
                keep_letters=timedelta(days=self.settings.dead_letters_keep_days),
            ),
        )
        start("outbox", self.outbox.run)
        start("outbox wakes", self.outbox.listen)
        start("outbox count", self.outbox.count)
        start("report", self.streams.report)
        start("commit", self.streams.commit_regularly)
        start("parking", self.streams.look)
        start("uptime", self._uptime)
        await self.adapters.bus.start()

    async def stop(self) -> DrainReport:
        """Drain, close everything, and say what became of what was in flight."""
        if not self.supervisor.stopping.is_set():
            self.supervisor.stop("asked to")
        hooks: list[Step] = [
            (f"shutdown hook {module.name}.{hook.__name__}", partial(self._call_hook, module, hook))
            for module in reversed(self.modules)
            for hook in reversed(module.shutdown_hooks)
        ]
        report = await self.supervisor.drain(
            [self.dispatcher, self.streams],
            stop_intake=("stop intake", self._stop_intake),
            hooks=[*hooks, *self.before_closing],
            close=[
                ("supervision", self.supervision.stop),
                ("commit", self.streams.commit),
                ("outbox", partial(self.outbox.flush, timeout_s=OUTBOX_FLUSH_S)),
                ("loops", self.loops.stop),
                ("lease", self.lease.leave),
                ("adapters", self.adapters.close),
                *([("http", self.http.stop)] if self.http else []),
            ],
        )
        self._give_logging_back()
        self.log.info("drain report", clean=report.clean, **_shown(report))
        return report

    async def _stop_intake(self) -> None:
        self.dispatcher.stop_taking()
        self.streams.stop()
        await self.adapters.bus.stop_intake()
        await self.intake.emptied()
        await self.dispatcher.round_trips_ended()

    async def _call_hook(self, module: Module, hook: Any) -> None:
        needs = injection.needs_of_hook(module, hook)
        names = {**needs.per_process, **needs.per_work}
        await hook(**{parameter: getattr(self.adapters, port) for parameter, port in names.items()})

    async def _uptime(self) -> None:
        began_at = self.clock.monotonic()
        while True:
            for module in self.modules:
                self.metrics.set(metric.UPTIME, self.clock.monotonic() - began_at, module=module.name)
            await self.clock.sleep(5.0)

    def _crashed(self, said: str) -> None:
        self.supervisor.stop(f"a loop crashed too often: {said}", failed=True)

    # What the HTTP and the command line ask of it.

    async def submit(self, envelope: Envelope, *, timeout_s: float = 10.0) -> Recorded | None:
        """Publish; returns once the bus has it for good: a durable bus has confirmed, or the ledger has recorded
        the command. Raises `BadInput`, `NotFound`, `Unavailable`; `TimeoutError` when neither came in time."""
        mounted = self.mounted.get(envelope.address)
        if mounted and envelope.key is None:
            # The bus orders by the message's key: without it, messages of one key would be spread over partitions.
            envelope = msgspec.structs.replace(envelope, key=mounted.key_of(envelope.body))
        with publishing(envelope.address, self.adapters.traces) as carried:
            if carried:
                envelope = msgspec.structs.replace(envelope, headers={**envelope.headers, **carried})
            return await self._submit(envelope, timeout_s)

    async def _submit(self, envelope: Envelope, timeout_s: float) -> Recorded | None:
        mounted = self.mounted.get(envelope.address)
        waits = mounted and isinstance(mounted.route, JobRoute) and not self.adapters.bus.capabilities.durable
        if not waits:
            await self.adapters.bus.publish(envelope)
            return None
        expected = self.intake.expect(envelope.id)
        try:
            async with self.clock.timeout(timeout_s):
                await self.adapters.bus.publish(envelope)
                answer = await expected
        finally:
            expected.cancel()
        if isinstance(answer, Recorded):
            return answer
        raise answer


def _shown(report: DrainReport) -> dict[str, Any]:
    return {"reason": report.reason, "seconds": report.seconds, "fates": report.fates, "faults": report.faults}


def load(settings: Settings, *, only: Sequence[str] = ()) -> Worker:
    """The worker of the modules that the settings name."""
    return Worker(settings, registry.load(settings.modules), only=only)


async def run_until_stopped(worker: Worker) -> DrainReport:
    """Start, wait until someone calls `worker.supervisor.stop`, drain."""
    await worker.start()
    process.collect_less_often()
    await worker.supervisor.stopping.wait()
    return await worker.stop()
