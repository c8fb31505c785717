"""The way of a message, read aloud: decode it, ask whether it may run, run it, judge what came of it, settle that.

A job and a stream message both travel as `Work`; they differ in what admits and what settles them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, partial
from types import TracebackType
from typing import Any, Protocol

import msgspec

from contracts import metrics as metric
from contracts import outcome
from contracts.cancellation import being_cancelled
from contracts.errors import Transient, Unavailable, Undecodable
from contracts.module import Module, Route, StreamRoute
from contracts.ports import Clock, Metrics, Traces
from contracts.ports.traces import About
from runtime import arguments
from runtime.gate import Gate
from runtime.keeper import Keeper, is_plain
from runtime.partly import Partly
from runtime.peers import Peers
from runtime.policy import retry as policy
from runtime.threads import Abandoned


class Scope(Protocol):
    """What is made for one piece of work: `db`, `log`, `emit`, and `job` where there is one.

    The handler runs within its block, whose end commits what was done there, or undoes it when the block raises.
    """

    async def __aenter__(self) -> object: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def is_transactional(route: Route, asks: Collection[str]) -> bool:
    """Whether a stream's handler asks for what can be committed with its position, or its route counts ids."""
    return isinstance(route, StreamRoute) and (not {"db", "emit", "state"}.isdisjoint(asks) or route.dedupe_s > 0)


class Mounted:
    """A route with its decoder and its injection resolved: all that one message needs, worked out once. `keeper` runs
    its handler where that is a plain function or is watched, `gate` says whether it may run, `peers` who else may be
    able to read what this route can't."""

    def __init__(
        self,
        module: Module,
        route: Route,
        adapters: Mapping[str, Any],
        per_work: Mapping[str, str],
        *,
        keeper: Keeper | None = None,
        gate: Gate | None = None,
        traces: Traces | None = None,
        peers: Peers | None = None,
    ) -> None:
        self.module = module
        self.peers = peers
        self.gate = gate
        self.traces = traces
        self.plain = is_plain(route.handler)
        """Its handler is a plain function: it runs in a thread."""
        if keeper is None and Keeper.wanted(route):
            raise ValueError(f"{module.name}, {route.address}: its handler is to be kept by a `Keeper`; give it one")
        self._keeper = keeper
        self.route = route
        self._decoder = msgspec.json.Decoder(route.contract)
        self._adapters = dict(adapters)
        self._per_work = tuple(per_work.items())
        self.transactional = is_transactional(route, per_work.values())
        """Its effects and its position commit together."""
        self.emits = "emit" in per_work.values()
        self.stateful = "state" in per_work.values()
        self._raw = isinstance(route, StreamRoute) and route.raw

    def decode(self, body: bytes) -> msgspec.Struct:
        """Raises `Undecodable` with every fault found."""
        try:
            message: msgspec.Struct = self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Undecodable(
                f"{self.route.address} takes {self.route.contract.__name__}: {self._why(body, error)}"
            ) from None
        return message

    def read(self, body: bytes) -> Any:
        """What the handler is given of a message. Raises `Undecodable`."""
        return body if self._raw else self.decode(body)

    def read_all(self, bodies: Sequence[bytes]) -> list[Any]:
        """As `read` for each. Raises `Undecodable` for the first that is."""
        if self._raw:
            return list(bodies)
        decode = self._decoder.decode
        try:
            return [decode(body) for body in bodies]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Undecodable(self.route.address) from error

    def key_of(self, body: bytes) -> str | None:
        """The value of the field that orders a stream, as text, also of a message that can't be read whole; None where
        there is none, or it can't be read."""
        if not isinstance(self.route, StreamRoute) or self.route.key is None:
            return None
        try:
            message: Any = self.decode(body)
        except Undecodable:
            message = self._ordering.read(body)
        value = getattr(message, self.route.key, None)
        return None if value is None else str(value)

    @cached_property
    def _ordering(self) -> Partly:
        assert isinstance(self.route, StreamRoute)
        assert self.route.key is not None
        return Partly(self.route.contract, [self.route.key])

    def call(self, message: Any, scope: Scope) -> Awaitable[Any]:
        """The handler with all that it asks for."""
        made = {name: getattr(scope, kind) for name, kind in self._per_work}
        if self._keeper is None:
            handling: Awaitable[Any] = self.route.handler(message, **self._adapters, **made)
            return handling
        return self._keeper.run(partial(self.route.handler, message, **self._adapters, **made))

    def _why(self, body: bytes, error: Exception) -> str:
        try:
            given = msgspec.json.decode(body)
        except RecursionError:
            return "it is nested too deeply"
        except (msgspec.DecodeError, UnicodeDecodeError):
            return f"it is not JSON: {error}"
        return "; ".join(arguments.faults_of(self.route.contract, given)) or str(error)


class Work(Protocol):
    """One attempt at one message, or at one batch. `cut` tells why its handler was cancelled, when it was;
    `carried` are the headers of its messages."""

    @property
    def mounted(self) -> Mounted: ...

    @property
    def attempt(self) -> int: ...

    @property
    def scope(self) -> Scope: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def metrics(self) -> Metrics: ...

    @property
    def decode(self) -> Callable[[], Any]: ...

    @property
    def carried(self) -> Callable[[], Sequence[Mapping[str, str]]]: ...

    @property
    def about(self) -> Callable[[], AbstractContextManager[object]]: ...

    @property
    def admit(self) -> Callable[[], outcome.Outcome | None]: ...

    @property
    def settle(self) -> Callable[[outcome.Outcome], Awaitable[None]]: ...

    @property
    def cut(self) -> Callable[[], policy.Cut | None]: ...


async def carry(work: Work) -> outcome.Outcome:
    """Take one message all the way; whatever the handler does, exactly one outcome is settled."""
    with work.about():
        traces = work.mounted.traces
        return await (_carried(work) if traces is None else _traced(work, traces))


async def _traced(work: Work, traces: Traces) -> outcome.Outcome:
    """The same as a span, which goes on with the trace of the message."""
    carried, route = work.carried(), work.mounted.route
    about: About = {
        "messaging.destination.name": route.address,
        "messaging.operation.type": "process",
        "messaging.batch.message_count": len(carried),
        "millrace.module": work.mounted.module.name,
        "millrace.attempt": work.attempt,
    }
    with traces.span(f"process {route.address}", kind="consumer", of=carried, about=about) as span:
        became = await _carried(work)
        span.note({"millrace.outcome": type(became).__name__.lower()})
        if isinstance(became, outcome.Retry | outcome.Dead):
            span.fail(became.error or type(became).__name__)
        return became


async def _carried(work: Work) -> outcome.Outcome:
    became = work.admit()
    if became is None:
        gate = work.mounted.gate
        became = await (_attempt(work) if gate is None or not gate.down else _through_the_gate(work, gate))
        if work.mounted.peers is not None:
            became = await work.mounted.peers.judged(became, work.mounted.route.address)
    await work.settle(became)
    return became


async def _through_the_gate(work: Work, gate: Gate) -> outcome.Outcome:
    """Nothing is tried while something that the route needs is down, unless it is to find out whether it is back."""
    if held := gate.admit(work):
        return held
    became: outcome.Outcome = outcome.Release(reason="it broke")
    try:
        became = await _attempt(work)
    finally:
        gate.ended(work, became)
    return became


async def _attempt(work: Work) -> outcome.Outcome:
    route, began_at = work.mounted.route, work.clock.monotonic()
    try:
        message = work.decode()
        async with work.clock.timeout(route.timeout_s), work.scope:
            result = await work.mounted.call(message, work.scope)
        return outcome.Done(result)
    except Abandoned:
        raise asyncio.CancelledError from None
    except BaseException as error:
        # The one place that judges. A cancellation ends here on purpose: what it means is an outcome too.
        late = work.clock.monotonic() - began_at >= route.timeout_s
        became = _judge(work, _told(error, work, late=late))
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return became
    finally:
        took_ms = (work.clock.monotonic() - began_at) * 1000
        work.metrics.observe(metric.PROCESSING_DURATION, took_ms, address=route.address)


def _told(error: BaseException, work: Work, *, late: bool) -> BaseException:
    """The same error where it says what happened, else one that does."""
    if isinstance(error, TimeoutError) and late:
        return _because(error, f"the handler did not end within {work.mounted.route.timeout_s:g} s")
    if isinstance(error, asyncio.CancelledError) and work.cut() is None and not being_cancelled():
        # Nobody asked for it: something that the handler waited for was cancelled. That is a failure as any other.
        return _because(error, "the handler waited for something that was cancelled")
    return error


def _because(error: BaseException, text: str) -> Transient:
    told = Transient(text)
    told.__cause__ = error
    return told


def _judge(work: Work, error: BaseException) -> outcome.Outcome:
    if work.mounted.gate is not None and isinstance(down := policy.decisive(error), Unavailable):
        work.mounted.gate.failed(work, down)
    return policy.judge(
        error, retry=work.mounted.route.retry, attempt=work.attempt, random=work.clock.random(), cut=work.cut()
    )
