"""The driver, as asyncio wants it: what it does at once is asked from the loop, what it waits for from a thread.

Its own threads read and write the connections, decode the answers, and keep its deadlines; each answer is handed to the
loop. Sending from the loop waits for nothing as long as a connection has room for one more request, so those in flight
are bounded far below that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from adapters.database.cassandra.login import make_login
from adapters.database.cassandra.place import Limits, Place
from adapters.database.cassandra.prepared import Prepared
from adapters.database.cassandra.telling import tell_tersely
from adapters.database.cassandra.values import make_row_factory
from adapters.threads import Threads
from contracts.errors import Faults, Unavailable

GRACE_S = 2.0
"""The driver's own deadlines come first, unless it is the driver that hangs."""
HEARTBEAT_S = 10
"""A connection on which nothing is asked is tried so often."""
LAST_RETRY_S = 5.0
"""A node that is down is tried again so often at the least."""
MISSING = "--db cassandra needs its driver, which is an extra: install `millrace[cassandra]`"
LOOPLESS = "--db cassandra: its driver has no event loop here; install it from a wheel, or libev before it is built"


class Link:
    """An open session, in the loop that uses it."""

    def __init__(self, cluster: Any, session: Any, *, place: Place, limits: Limits, threads: Threads) -> None:
        self._cluster = cluster
        self._session = session
        self._place = place
        self._limits = limits
        self._threads = threads
        self._loop = asyncio.get_running_loop()
        self._turns = asyncio.Semaphore(limits.in_flight)
        self.prepared = Prepared(self._prepare, most=limits.prepared)

    async def request(self, statement: Any, *, timeout_s: float) -> Request:
        """Send a statement, text or bound. Raises `Unavailable` when there was no turn for it in time."""
        await self.turn()
        return Request(self, lambda: self._session.execute_async(statement, timeout=timeout_s), timeout_s=timeout_s)

    async def turn(self) -> None:
        """Wait until one more may be in flight."""
        if not self._turns.locked():
            await self._turns.acquire()
            return
        try:
            async with asyncio.timeout(self._limits.turn_timeout_s):
                await self._turns.acquire()
        except TimeoutError:
            why = (
                f"no turn within {self._limits.turn_timeout_s:g} s, as {self._limits.in_flight} requests are in flight"
            )
            raise Unavailable(self._place.shown, f"{why}; raise DB_CASSANDRA_IN_FLIGHT") from None

    def answered(self) -> None:
        """One of those in flight has come back."""
        self._turns.release()

    def tell(self, act: Callable[[], None]) -> None:
        """Have it done on the loop; for the driver's threads. What comes when the loop has ended is nobody's."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(act)

    def shut_down(self) -> None:
        """Blocks; for a thread. What is in flight fails."""
        self._cluster.shutdown()

    async def _prepare(self, cql: str) -> Any:
        async with asyncio.timeout(self._limits.request_timeout_s + GRACE_S):
            return await self._threads.run(lambda: self._session.prepare(cql))


class Request:
    """One statement that was sent. `answer` waits for its result, or for the first page of it; `more` for a further
    one. It holds its turn until the server has answered, also when nobody waits any more."""

    def __init__(self, link: Link, send: Callable[[], Any], *, timeout_s: float) -> None:
        self._link = link
        self._timeout_s = timeout_s
        self._answer = self._awaited()
        try:
            self._response = send()
        except BaseException:
            link.answered()
            raise
        self._response.add_callbacks(self._came, self._failed)

    async def answer(self) -> list[dict[str, Any]]:
        """Rows; none for what returns none. Raises what the driver does, `TimeoutError` included."""
        async with asyncio.timeout(self._timeout_s + GRACE_S):
            return await self._answer

    async def more(self) -> list[dict[str, Any]] | None:
        """The next page; None after the last one."""
        if not self._response.has_more_pages:
            return None
        await self._link.turn()
        self._answer = self._awaited()
        try:
            self._response.start_fetching_next_page()
        except BaseException:
            self._link.answered()
            raise
        return await self.answer()

    def _awaited(self) -> asyncio.Future[list[dict[str, Any]]]:
        return asyncio.get_running_loop().create_future()

    # In the driver's thread.

    def _came(self, rows: Any) -> None:
        self._link.tell(lambda: self._settle(rows or [], None))

    def _failed(self, error: BaseException) -> None:
        self._link.tell(lambda: self._settle([], error))

    # In the loop.

    def _settle(self, rows: list[dict[str, Any]], error: BaseException | None) -> None:
        self._link.answered()
        if self._answer.done():
            return  # who waited was cancelled
        if error is None:
            self._answer.set_result(rows)
        else:
            self._answer.set_exception(error)


def connected(place: Place, limits: Limits, loop: asyncio.AbstractEventLoop) -> tuple[Any, Any]:
    """The driver's cluster and session. Blocks; for a thread. Raises `Unavailable`, or `Faults` for what is wrong with
    the driver or with files of TLS."""
    cluster = None
    try:
        cluster = _cluster(place, limits, loop)
        session = cluster.connect()
        session.set_keyspace(place.keyspace)  # by itself, as `connect` would not say what is wrong with it
        return cluster, session
    except BaseException as error:
        from adapters.database.cassandra.translation import DRIVER_ERRORS, translated

        there = sorted({str(host.datacenter) for host in cluster.metadata.all_hosts()}) if cluster is not None else []
        if cluster is not None:
            cluster.shutdown()
        if not isinstance(error, DRIVER_ERRORS):
            raise
        said = translated(error, where=place.shown)
        if place.datacenter and there and place.datacenter not in there:
            why = f"no node in the data centre {place.datacenter!r}; there are: {', '.join(there)}"
            raise Unavailable(place.shown, why) from error
        raise (said if isinstance(said, Unavailable) else Unavailable(place.shown, str(said))) from error


def _cluster(place: Place, limits: Limits, loop: asyncio.AbstractEventLoop) -> Any:
    try:
        from cassandra import ConsistencyLevel, cluster, policies
    except ImportError:
        raise Faults("adapters", [MISSING]) from None
    except Exception as error:
        raise Faults("adapters", [f"{LOOPLESS} ({type(error).__name__})"]) from error
    tell_tersely()
    local = place.consistency.startswith("LOCAL_")
    profile = cluster.ExecutionProfile(
        load_balancing_policy=policies.TokenAwarePolicy(policies.DCAwareRoundRobinPolicy(place.datacenter or "")),
        consistency_level=ConsistencyLevel.name_to_value[place.consistency],
        serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL if local else ConsistencyLevel.SERIAL,
        request_timeout=limits.request_timeout_s,
        row_factory=make_row_factory(),
    )
    return cluster.Cluster(
        place.endpoints,
        port=place.endpoints[0][1],
        auth_provider=make_login(place.user, place.password, loop) if place.user and place.password else None,
        ssl_context=place.tls.context("Cassandra's TLS") if place.tls else None,
        execution_profiles={cluster.EXEC_PROFILE_DEFAULT: profile},
        connect_timeout=limits.connect_timeout_s,
        control_connection_timeout=limits.connect_timeout_s,
        reconnection_policy=policies.ExponentialReconnectionPolicy(0.5, LAST_RETRY_S, max_attempts=None),
        idle_heartbeat_interval=HEARTBEAT_S,
        idle_heartbeat_timeout=limits.connect_timeout_s,
        prepare_on_all_hosts=False,  # a node that doesn't know a statement says so, and the driver tells it
        monitor_reporting_enabled=False,
        application_name="millrace",
    )
