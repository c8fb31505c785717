"""A pool of connections to one server: how they are made, lent and given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec

from adapters.database.address import Address
from adapters.database.connection import Connection
from adapters.database.translation import DRIVER_ERRORS, translated
from contracts.errors import Unavailable
from contracts.ports.metrics import Metrics
from contracts.ports.secrets import Credential
from contracts.ports.traces import Traces

if TYPE_CHECKING:
    from adapters.database.postgres import Limits

Revive = Callable[[], Awaitable[bool]]

CLOSE_TIMEOUT_S = 5.0
JSONB_VERSION = b"\x01"


class ConnectionPool:
    """Grows from none to `limits.pool_size` and shrinks again when idle."""

    def __init__(
        self,
        address: Address,
        *,
        limits: Limits,
        metrics: Metrics | None,
        traces: Traces | None,
        name: str,
        revive: Revive | None = None,
        password: Credential | None = None,
    ) -> None:
        self._address = address
        self._limits = limits
        self._metrics = metrics
        self._traces = traces
        self._revive = revive
        options = address.reveal()
        settings = {"application_name": name} if "application_name=" not in options.get("dsn", "") else {}
        cache = limits.statement_cache_size if address.statement_cache_size is None else address.statement_cache_size
        self._options: dict[str, Any] = {
            **options,
            "timeout": limits.connect_timeout_s,
            "command_timeout": limits.command_timeout_s,
            "statement_cache_size": cache,
            "server_settings": settings,
        }
        if password is not None:
            self._options["password"] = _revealed(password)
        self.raw = asyncpg.create_pool(
            # No floor: asyncpg would keep it with a background task that logs tracebacks while a server is away.
            min_size=0,
            max_size=limits.pool_size,
            connect=self._connect,
            # Nothing is set for a session here (`Connection.transaction` sets for the transaction), so giving a
            # connection back needs no round trip. The driver itself still rolls back what was left open.
            reset=_nothing,
        )

    @asynccontextmanager
    async def lend(self, *, timeout_s: float) -> AsyncIterator[Connection]:
        """A connection for the length of the block; `timeout_s` is for each statement."""
        raw = await self._acquire()
        try:
            yield self._wrapped(raw, timeout_s=timeout_s)
        finally:
            # A connection that can't be given back is dropped by the pool; what went wrong was raised before.
            with suppress(*DRIVER_ERRORS):
                await self.raw.release(raw)

    @asynccontextmanager
    async def dedicated(self, *, name: str) -> AsyncIterator[Connection]:
        """A connection outside the pool, with `name` as its application's name."""
        try:
            raw = await self._connect(server_settings={"application_name": name})
        except DRIVER_ERRORS as error:
            raise self._unreachable(error) from error
        try:
            yield self._wrapped(raw, timeout_s=self._limits.command_timeout_s)
        finally:
            with suppress(*DRIVER_ERRORS):
                await raw.close(timeout=CLOSE_TIMEOUT_S)

    async def close(self) -> None:
        """Waits a moment for what is lent, then cuts."""
        with suppress(*DRIVER_ERRORS):
            await self.raw  # a pool that was never used can't be closed otherwise
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self.raw.close()  # on a timeout it cuts by itself

    async def _acquire(self) -> Any:
        try:
            await self.raw  # its making is only bookkeeping, as there is no floor; done once
            # One that lies idle is had without waiting, and a deadline costs as much as a short statement.
            waits = self.raw.get_idle_size() == 0
            return await self.raw.acquire(timeout=self._limits.acquire_timeout_s if waits else None)
        except TimeoutError as error:
            busy = self.raw.get_size() - self.raw.get_idle_size()
            why = f"no connection within {self._limits.acquire_timeout_s:g} s"
            if busy >= self._limits.pool_size:
                why += f", as all {busy} are busy; raise the pool's size"
            raise Unavailable(self._address.shown, why) from error
        except DRIVER_ERRORS as error:
            raise self._unreachable(error) from error

    async def _connect(self, *_: Any, **options: Any) -> Any:
        merged = {**self._options, **options}
        try:
            raw = await asyncpg.connect(**merged)
        except OSError:
            if self._revive is None or not await self._revive():
                raise
            raw = await asyncpg.connect(**merged)
        await _speak_json(raw)
        return raw

    def _unreachable(self, error: BaseException) -> Unavailable:
        if isinstance(error, TimeoutError):
            return Unavailable(self._address.shown, f"no answer within {self._limits.connect_timeout_s:g} s")
        said = translated(error, where=self._address.shown)
        return said if isinstance(said, Unavailable) else Unavailable(self._address.shown, str(said))

    def _wrapped(self, raw: Any, *, timeout_s: float) -> Connection:
        return Connection(
            raw,
            where=self._address.shown,
            timeout_s=timeout_s,
            copy_timeout_s=self._limits.work_timeout_s,
            metrics=self._metrics,
            traces=self._traces,
        )


def _revealed(password: Credential) -> Callable[[], Awaitable[str]]:
    async def look_up() -> str:
        return (await password()).reveal()

    return look_up


async def _speak_json(raw: asyncpg.Connection[Any]) -> None:
    """json and jsonb are Python values (a `msgspec.Raw` goes through as it is); binary, so that COPY takes them."""
    encode, decode = msgspec.json.encode, msgspec.json.decode
    await raw.set_type_codec("json", schema="pg_catalog", encoder=encode, decoder=decode, format="binary")
    await raw.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: JSONB_VERSION + encode(value),
        decoder=lambda data: decode(data[1:]),
        format="binary",
    )


async def _nothing(_: Any) -> None:
    pass
