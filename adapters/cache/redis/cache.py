"""A cache in Redis."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, OutOfMemoryError, RedisError, ResponseError

from adapters.cache.flights import LOAD_WAIT_S, Flights
from adapters.cache.lookups import Lookups
from adapters.cache.redis.claims import CLAIM_S, KEEP, POLL_S, RELEASE
from adapters.cache.redis.missed import Missed
from adapters.cache.redis.outage import Outage
from adapters.cache.ttl import check_ttl
from adapters.redis_password import LookedUp, without_user
from contracts.errors import Faults, Unavailable
from contracts.metrics import CACHE_FALL_THROUGHS
from contracts.ports.clock import Clock
from contracts.ports.log import Log
from contracts.ports.metrics import Metrics
from contracts.ports.secrets import Credential

T = TypeVar("T")

CONNECTIONS = 8
"""Redis serves one call at a time anyway, and a connection by TLS is dear to make."""
SCANNED_AT_ONCE = 1000
_GLOB = re.compile(rb"([*?\[\]\\])")


class RedisCache:
    """Implements `Cache` on one Redis (`redis://`, `rediss://` with `ssl_ca_certs=` in the query, or `unix://`), under
    keys that begin with `prefix`. Where Redis does not answer within `timeout_s` it is taken to be down and is not
    asked until it answers again; what was set or deleted meanwhile is forgotten there first."""

    def __init__(
        self,
        url: str,
        *,
        password: Credential | None = None,
        clock: Clock,
        log: Log,
        metrics: Metrics | None = None,
        prefix: str = "millrace:",
        timeout_s: float = 1.0,
    ) -> None:
        self._address = _shown(url)
        login: dict[str, Any] = {}
        if password is not None:
            url, user = without_user(url)
            login["credential_provider"] = LookedUp(user, password)
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                timeout=None,  # the deadline of each call is ours, and counts the wait for a connection
                socket_connect_timeout=timeout_s,
                retry=Retry(NoBackoff(), 0),
                protocol=2,
                **login,
            )
        except (ValueError, TypeError) as error:
            raise Faults("cache", [f"CACHE_REDIS_URL is not understood: {error}; use redis://host:6379/0"]) from None
        self._redis: Any = Redis.from_pool(pool)  # its commands have no useful types
        self._keep = self._redis.register_script(KEEP)
        self._release = self._redis.register_script(RELEASE)
        self._values, self._claims = f"{prefix}v:".encode(), f"{prefix}c:".encode()
        self._clock = clock
        self._metrics = metrics
        self._timeout_s = timeout_s
        self._lookups = Lookups(metrics)
        self._flights = Flights(clock)
        self._missed = Missed()
        self._outage = Outage(self._catch_up, address=self._address, clock=clock, log=log)

    @property
    def address(self) -> str:
        return self._address

    async def open(self) -> None:
        """One that does not answer is no fault: it is tried until it does. One that refuses us is."""
        try:
            await self._within(self._try_out)
        except (AuthenticationError, ResponseError) as error:
            raise Unavailable(
                "the cache", f"{self._address}: {error}; see CACHE_REDIS_URL, and the user's rights on its keys"
            ) from error
        except (RedisError, OSError, TimeoutError) as error:
            self._outage.begin(error)

    async def check(self) -> None:
        if self._outage.why:
            raise Unavailable("the cache", f"{self._address}: {self._outage.why}; work goes on without it")
        try:
            await self._within(self._redis.ping)
        except (RedisError, OSError, TimeoutError) as error:
            raise Unavailable("the cache", f"{self._address}: {_told(error, self._timeout_s)}") from error

    async def close(self) -> None:
        await self._outage.close()
        await self._redis.aclose(close_connection_pool=True)

    async def get(self, key: str) -> bytes | None:
        return (await self.get_many([key])).get(key)

    async def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        wanted = list(dict.fromkeys(keys))
        found = await self._looked_up(wanted)
        self._lookups.add(found=len(found), asked=len(wanted))
        return found

    async def get_or_load(self, key: str, load: Callable[[], Awaitable[bytes]], *, ttl_s: float | None = None) -> bytes:
        check_ttl(key, ttl_s)
        if (value := await self.get(key)) is not None:
            return value

        async def kept(_: bytes) -> None:
            """By the claim."""

        return await self._flights.value(key, lambda: self._loaded(key, load, ttl_s), kept)

    async def set(self, key: str, value: bytes, *, ttl_s: float | None = None) -> None:
        await self.set_many({key: value}, ttl_s=ttl_s)

    async def set_many(self, values: Mapping[str, bytes], *, ttl_s: float | None = None) -> None:
        for key in values:
            check_ttl(key, ttl_s)
        self._flights.forget(*values)

        async def act() -> None:
            async with self._redis.pipeline(transaction=False) as commands:
                for key, value in values.items():
                    commands.set(self._value(key), value, px=_ms(ttl_s) or None)
                commands.unlink(*map(self._claim, values))
                answers = await commands.execute(raise_on_error=False)
            errors = [answer for answer in answers if isinstance(answer, Exception)]
            if all(isinstance(error, OutOfMemoryError) for error in errors):
                # Full is not down. What was there before must not outlive what did not fit.
                refused = [key for key, answer in zip(values, answers, strict=False) if isinstance(answer, Exception)]
                if refused:
                    self._fell_through()
                    await self._redis.unlink(*map(self._value, refused))
                return
            raise next(error for error in errors if not isinstance(error, OutOfMemoryError))

        if values:
            await self._ask(act, otherwise=None, changed=values)

    async def delete(self, key: str) -> bool:
        self._flights.forget(key)

        async def act() -> bool:
            async with self._redis.pipeline(transaction=False) as commands:
                there, _ = await commands.unlink(self._value(key)).unlink(self._claim(key)).execute()
            return bool(there)

        return await self._ask(act, otherwise=False, changed=[key])

    async def exists(self, key: str) -> bool:
        async def act() -> bool:
            return bool(await self._redis.exists(self._value(key)))

        return await self._ask(act, otherwise=False)

    async def flush(self, prefix: str = "") -> int:
        self._flights.forget_all(prefix)
        if not self._outage.why:
            try:
                return await self._flushed(prefix)
            except (RedisError, OSError, TimeoutError) as error:
                self._outage.begin(_told(error, self._timeout_s))
        self._fell_through()
        self._missed.add(prefix=prefix)
        return 0

    # Loading.

    async def _loaded(self, key: str, load: Callable[[], Awaitable[bytes]], ttl_s: float | None) -> bytes:
        """By us, or by another process that was first."""
        claim = self._clock.new_id()
        by_ourselves: tuple[bool, bytes | None] = True, None
        until = self._clock.monotonic() + LOAD_WAIT_S
        while True:
            ours, value = await self._ask(lambda: self._claimed(key, claim), otherwise=by_ourselves)
            if value is not None:
                if ours:
                    await self._released(key, claim)
                return value
            if ours or self._clock.monotonic() > until:
                break
            await self._clock.sleep(POLL_S)
        try:
            value = await load()
        except BaseException:
            await self._released(key, claim)
            raise
        keys = [self._value(key), self._claim(key)]
        await self._ask(lambda: self._keep(keys=keys, args=[claim, value, _ms(ttl_s)]), otherwise=None)
        return value

    async def _claimed(self, key: str, claim: str) -> tuple[bool, bytes | None]:
        """Whether the claim is ours, and what is there: who held it before us may just have kept what it loaded."""
        async with self._redis.pipeline(transaction=False) as commands:
            commands.set(self._claim(key), claim, nx=True, px=_ms(CLAIM_S)).get(self._value(key))
            ours, value = await commands.execute()
        return bool(ours), value

    async def _released(self, key: str, claim: str) -> None:
        await self._ask(lambda: self._release(keys=[self._claim(key)], args=[claim]), otherwise=None)

    # Asking.

    async def _ask(self, act: Callable[[], Awaitable[T]], *, otherwise: T, changed: Iterable[str] = ()) -> T:
        """What Redis answers; `otherwise` where it does not, and then what was to be `changed` is remembered."""
        if not self._outage.why:
            try:
                return await self._within(act)
            except OutOfMemoryError:  # full is not down
                self._fell_through()
                return otherwise
            except (RedisError, OSError, TimeoutError) as error:
                self._outage.begin(_told(error, self._timeout_s))
        self._fell_through()
        self._missed.add(changed)
        return otherwise

    async def _within(self, act: Callable[[], Awaitable[T]]) -> T:
        async with self._clock.timeout(self._timeout_s):
            return await act()

    async def _looked_up(self, keys: list[str]) -> dict[str, bytes]:
        async def act() -> list[bytes | None]:
            answer: list[bytes | None] = await self._redis.mget([self._value(key) for key in keys])
            return answer

        nothing: list[bytes | None] = [None] * len(keys)
        values = await self._ask(act, otherwise=nothing) if keys else nothing
        return {key: value for key, value in zip(keys, values, strict=True) if value is not None}

    async def _flushed(self, prefix: str) -> int:
        """Page by page, each within the deadline."""
        count = 0
        for kind in (self._claims, self._values):
            pattern = _GLOB.sub(rb"\\\1", kind + _encoded(prefix)) + b"*"
            cursor, begun = 0, False
            while cursor or not begun:
                cursor, keys = await self._within(partial(self._redis.scan, cursor, pattern, SCANNED_AT_ONCE))
                begun = True
                if keys:
                    gone = await self._within(partial(self._redis.unlink, *keys))
                    count += gone if kind is self._values else 0
        return count

    async def _catch_up(self) -> None:
        """Redis can do what we need, and has forgotten what it must not serve any more."""
        await self._within(self._try_out)
        while self._missed:
            keys, prefixes = self._missed.take()
            try:
                for prefix in prefixes:
                    await self._flushed(prefix)
                for begin in range(0, len(keys), SCANNED_AT_ONCE):
                    some = keys[begin : begin + SCANNED_AT_ONCE]
                    await self._within(partial(self._redis.unlink, *map(self._value, some), *map(self._claim, some)))
            except BaseException:
                self._missed.add(keys)
                for prefix in prefixes:
                    self._missed.add(prefix=prefix)
                raise

    async def _try_out(self) -> None:
        """That Redis does for us what we ask of it; one that is full does enough."""
        probe = self._claims + b"probe of " + self._clock.new_id().encode()
        async with self._redis.pipeline(transaction=False) as commands:
            commands.set(probe, b"", px=_ms(CLAIM_S)).mget([probe]).exists(probe).scan(0, match=probe).unlink(probe)
            with contextlib.suppress(OutOfMemoryError):
                await commands.execute()

    def _fell_through(self) -> None:
        if self._metrics is not None:
            self._metrics.add(CACHE_FALL_THROUGHS)

    def _value(self, key: str) -> bytes:
        return self._values + _encoded(key)

    def _claim(self, key: str) -> bytes:
        return self._claims + _encoded(key)


def _encoded(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def _ms(ttl_s: float | None) -> int:
    """0 when it stays."""
    return 0 if ttl_s is None or math.isinf(ttl_s) else max(1, math.ceil(ttl_s * 1000))


def _told(error: Exception, timeout_s: float) -> Exception:
    return TimeoutError(f"no answer within {timeout_s:g} s") if isinstance(error, TimeoutError) else error


def _shown(url: str) -> str:
    """Without a user, a password and options."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    return f"{parts.scheme}://{parts.hostname or 'localhost'}:{parts.port or 6379}{parts.path}"
