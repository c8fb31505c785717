"""What watches over handlers and what they stand on: threads, liveness, the watchdog of the loop, the breakers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from contracts.module import JobRoute, Module, Route
from contracts.ports import Clock, Log, Metrics
from runtime.breakers import Breakers
from runtime.injection import Needs
from runtime.keeper import Keeper
from runtime.liveness import Liveness
from runtime.loops import Loops
from runtime.peers import Peers
from runtime.pipeline import Mounted, is_transactional
from runtime.threads import Threads
from runtime.watchdog import Watchdog
from runtime.wiring import Adapters


class Supervision:
    """One of each for the process. Made without I/O and without threads."""

    def __init__(self, adapters: Adapters, *, peers: Peers, sync_threads: int | None, loop_stall_s: float) -> None:
        clock: Clock = adapters.clock
        log: Log = adapters.log
        metrics: Metrics = adapters.metrics
        self.threads = Threads(sync_threads)
        self.liveness = Liveness(clock, log, metrics)
        self.watchdog = Watchdog(log, metrics, stall_s=loop_stall_s)
        self.breakers = Breakers(lambda: adapters.opened, clock, log, metrics)
        self._log = log
        self._traces = adapters.traces
        self._peers = peers
        self._statements_in_db: Callable[[], bool] = lambda: adapters.statements is adapters.db

    def mounted(self, module: Module, route: Route, made: Mapping[str, Any], needs: Needs) -> Mounted:
        """The route with its gate, and with a keeper where its handler needs one."""
        names = set(needs.adapters)
        if isinstance(route, JobRoute) or is_transactional(route, needs.per_work.values()):
            names.add("ledger")
        if "statements" in names and self._statements_in_db():
            names.add("db")  # by which it is opened, checked and told about
        gate = self.breakers.gate(module.name, route.address, names)
        keeper = Keeper(route, self.threads, self.liveness, self._log) if Keeper.wanted(route) else None
        return Mounted(
            module, route, made, needs.per_work, keeper=keeper, gate=gate, traces=self._traces, peers=self._peers
        )

    def start(self, loops: Loops) -> None:
        """In the loop that is to be watched."""
        self.watchdog.start()
        loops.start("liveness", self.liveness.run)
        loops.start("breakers", self.breakers.run)

    async def stop(self) -> None:
        """What runs in a thread is not waited for any more. Idempotent."""
        self.watchdog.stop()
        self.threads.close()
