"""One breaker for each dependency of the process: while it is open, the routes that need it take and run nothing.

A handler raises `Unavailable`. The adapters that it may be about are asked by their own `check`: one that does not
answer is down, and its breaker opens at once; it is probed by the same check until it is back. What no check can tell
(`Unavailable("crm api", …)`) opens after a few failures within a while, for the routes that said so; it is probed by
letting one message through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

import msgspec

from contracts import metrics as metric
from contracts.errors import Unavailable
from contracts.ports import Checked, Clock, Log, Metrics
from contracts.redaction import without_secrets
from runtime.gate import Gate, name_of
from runtime.policy.breaker import Breaker, Limits, State
from runtime.wiring import check

CHECK_TIMEOUT_S = 2.0
MOST_DEPENDENCIES = 100
"""Names come from handlers: what is beyond these has no breaker, it is only tried again later."""


class BreakerState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A dependency that is taken to be down, and for how long it has been (`why` is for those who may see all)."""

    state: State
    for_s: float
    why: str = ""


class Dependency:
    """`checked`: it is an adapter, which can be asked; else only a message can tell."""

    def __init__(self, name: str, limits: Limits, *, checked: bool) -> None:
        self.name = name
        self.checked = checked
        self.breaker = Breaker(limits)
        self.gates: set[Gate] = set()
        self.why = ""
        self.tried_by: int | None = None

    @property
    def state(self) -> State:
        return self.breaker.state

    @property
    def may_try(self) -> bool:
        """One message may be let through, to see."""
        return self.state == "closed" or (self.state == "half-open" and not self.checked and self.tried_by is None)

    @property
    def holds_intake(self) -> bool:
        return self.state == "open" or (self.state == "half-open" and self.checked)


class _Suspicion(msgspec.Struct, kw_only=True):
    """What handlers said of one dependency since the last look."""

    why: str
    times: int = 0
    gates: set[Gate] = msgspec.field(default_factory=set)


class Breakers:
    """`run` is the loop that asks and probes. `opened` are the adapters that can be asked, by name."""

    def __init__(
        self,
        opened: Callable[[], Mapping[str, Checked]],
        clock: Clock,
        log: Log,
        metrics: Metrics,
        *,
        limits: Limits | None = None,
    ) -> None:
        self._opened = opened
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._limits = limits or Limits()
        self.gates: list[Gate] = []
        self._dependencies: dict[str, Dependency] = {}
        self._suspicions: dict[str, _Suspicion] = {}
        self._wake = asyncio.Event()

    def gate(self, module: str, address: str, needs: Collection[str]) -> Gate:
        """Of one route, which needs these adapters."""
        gate = Gate(self, module, address, needs)
        self.gates.append(gate)
        return gate

    def states(self) -> dict[str, BreakerState]:
        """All that are not closed, by name."""
        now = self._clock.monotonic()
        return {
            one.name: BreakerState(state=one.state, for_s=round(now - one.breaker.since, 3), why=one.why)
            for one in self._dependencies.values()
            if one.state != "closed"
        }

    # What gates tell.

    def suspect(self, gate: Gate, error: Unavailable) -> None:
        """A handler of this route says that something is down; the loop looks into it."""
        name, why = name_of(error), without_secrets(str(error))
        if name not in self._suspicions and len(self._suspicions) >= MOST_DEPENDENCIES:
            return
        suspicion = self._suspicions.setdefault(name, _Suspicion(why=why))
        suspicion.times += 1
        suspicion.gates.add(gate)
        self._wake.set()

    def tried(self, dependency: Dependency, by: int, *, well: bool | None) -> None:
        """What a message that was let through has told; None: nothing."""
        if dependency.tried_by != by:
            return
        dependency.tried_by = None
        self._answered(dependency, well)

    # The loop.

    async def run(self) -> None:
        """Asks what is suspected, probes what is due, and sleeps between."""
        while True:
            self._wake.clear()
            await self._look_into()
            await self._probe()
            if not self._wake.is_set():
                await self._rest()

    async def _rest(self) -> None:
        due_at = min((one.breaker.due_at for one in self._dependencies.values()), default=float("inf"))
        if due_at == float("inf"):
            await self._wake.wait()
            return
        try:
            async with self._clock.timeout(max(0.0, due_at - self._clock.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _look_into(self) -> None:
        if not self._suspicions:
            return
        suspicions, self._suspicions = self._suspicions, {}
        meant = {name: self._meant(name, suspicion) for name, suspicion in suspicions.items()}
        opened = self._opened()
        asked = {name: opened[name] for names in meant.values() for name in names if self._is_closed(name)}
        faults = {name: why for name, (_, why) in (await self._ask(asked)).items() if why}
        for name, fault in faults.items():
            self._opens(self._adapter(name), fault, times=1, confirmed=True)
        for name, suspicion in suspicions.items():
            if any(not self._is_closed(one) for one in meant[name]):
                continue  # that is what it was about
            # The check finds nothing wrong: only if it goes on is it taken to be down all the same.
            for dependency in self._named(name, suspicion, opened):
                self._opens(dependency, suspicion.why, times=suspicion.times, confirmed=False)

    def _meant(self, name: str, suspicion: _Suspicion) -> list[str]:
        """The adapters that handlers may have meant: those of that name or address, else all that their routes need."""
        opened = self._opened()
        if named := _matching(name, opened):
            return named
        return sorted({need for gate in suspicion.gates for need in gate.needs} & opened.keys())

    def _named(self, name: str, suspicion: _Suspicion, opened: Mapping[str, Checked]) -> list[Dependency]:
        if adapters := _matching(name, opened):
            return [self._adapter(adapter) for adapter in adapters]
        learned = self._dependencies.get(name) or self._learn(name)
        if learned is None:
            return []
        for gate in suspicion.gates - learned.gates:
            learned.gates.add(gate)
            if learned.state != "closed":
                gate.change(learned)
        return [learned]

    def _adapter(self, name: str) -> Dependency:
        if name not in self._dependencies:
            made = self._dependencies[name] = Dependency(name, self._limits, checked=True)
            made.gates.update(gate for gate in self.gates if name in gate.needs)
        return self._dependencies[name]

    def _learn(self, name: str) -> Dependency | None:
        if len(self._dependencies) >= MOST_DEPENDENCIES:
            forgotten = [one.name for one in self._dependencies.values() if not one.checked and one.state == "closed"]
            for other in forgotten:
                del self._dependencies[other]
        if len(self._dependencies) >= MOST_DEPENDENCIES:
            return None
        made = self._dependencies[name] = Dependency(name, self._limits, checked=False)
        return made

    def _is_closed(self, name: str) -> bool:
        known = self._dependencies.get(name)
        return known is None or known.state == "closed"

    async def _probe(self) -> None:
        now = self._clock.monotonic()
        due = [one for one in self._dependencies.values() if one.breaker.probe(now)]
        for dependency in due:
            if not dependency.checked:
                self._log.debug("a message may try whether a dependency is back", dependency=dependency.name)
                self._tell(dependency)
        opened = self._opened()
        asked = {one.name: opened[one.name] for one in due if one.checked and one.name in opened}
        answers = await self._ask(asked)
        for name, (_, fault) in answers.items():
            dependency = self._dependencies[name]
            dependency.why = fault or dependency.why
            self._answered(dependency, not fault)

    async def _ask(self, adapters: Mapping[str, Checked]) -> dict[str, tuple[float, str]]:
        return await check(adapters, self._clock, timeout_s=CHECK_TIMEOUT_S) if adapters else {}

    # Changes.

    def _opens(self, dependency: Dependency, why: str, *, times: int, confirmed: bool) -> None:
        now = self._clock.monotonic()
        for _ in range(min(times, self._limits.failures)):
            if dependency.breaker.failed(now, self._clock.random(), confirmed=confirmed):
                dependency.why = without_secrets(why)
                self._log.warn(
                    "breaker opened: routes wait for a dependency",
                    dependency=dependency.name,
                    why=dependency.why,
                    routes=sorted(gate.address for gate in dependency.gates),
                )
                self._tell(dependency)
                return
        if dependency.state == "closed":
            self._log.warn("a dependency failed a handler", dependency=dependency.name, why=without_secrets(why))

    def _answered(self, dependency: Dependency, well: bool | None) -> None:
        now, breaker = self._clock.monotonic(), dependency.breaker
        since = breaker.since
        if well is None:
            breaker.untold(now)
        elif well:
            breaker.passed(now)
            self._log.info(
                "breaker closed: a dependency is back", dependency=dependency.name, after_s=round(now - since, 3)
            )
        else:
            breaker.refused(now, self._clock.random())
            self._log.debug("a dependency is still down", dependency=dependency.name, why=dependency.why)
        self._tell(dependency)
        self._wake.set()

    def _tell(self, dependency: Dependency) -> None:
        self._metrics.set(metric.BREAKER_OPEN, dependency.state != "closed", dependency=dependency.name)
        for gate in tuple(dependency.gates):
            gate.change(dependency)


def _matching(name: str, opened: Mapping[str, Checked]) -> list[str]:
    """Adapters that are called so (`db`, `the ledger`) or live there. The ledger's tables live in the database."""
    return [
        known
        for known, adapter in opened.items()
        if name in (known, f"the {known}") or adapter.address == name or adapter.address.startswith(f"{name} ")
    ]
