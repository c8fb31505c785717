"""What becomes of a request: the form that is asked for, the source as it is, the query, and then the cache, the
database, or a long answer."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from urllib.parse import unquote, urlencode

import msgspec

from contracts.errors import NotFound, Unavailable
from contracts.http import HttpAnswer, HttpRequest, Parts, Refused
from contracts.ports import Cache, Clock, Db, Log, Metrics
from contracts.resource import Resource
from modules.api_gateway import cursor as cursors
from modules.api_gateway import negotiation, rendering
from modules.api_gateway.flight import Flight
from modules.api_gateway.measures import READ_DURATION, READS
from modules.api_gateway.query import Query, read, read_one
from modules.api_gateway.reading import Reader
from modules.api_gateway.source import Look, Source
from modules.api_gateway.statement import compiled

STREAMS = 2
"""Long answers at once, in one process: each has a connection of the pool for as long as its reader takes."""

_HEADERS = {"Cache-Control": "private, no-cache", "Vary": "Accept, Authorization, X-API-Key"}
"""Whoever keeps an answer asks before it is used again: nothing new is told in a few bytes (304)."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """An answer as the cache has it; without a body there is no such row."""

    body: bytes | None
    tag: str = ""
    next: str | None = None


class Ports(msgspec.Struct, frozen=True):
    """What a request is answered with."""

    db: Db
    cache: Cache
    clock: Clock
    log: Log
    metrics: Metrics


_entries = msgspec.msgpack.Decoder(Entry)


class Serving:
    """Of one resource. An entry of the cache is under a hash of the declaration, the source's version, and what was
    asked: it outlives no change of the first two, and gateways that share a cache share its entries."""

    def __init__(self, resource: Resource, streams: asyncio.Semaphore) -> None:
        self.resource = resource
        self.source = Source(resource)
        self._reader = Reader(resource)
        self._flight: Flight[Entry] = Flight()
        self._streams = streams
        self._declared = msgspec.json.encode(resource).decode()

    async def listed(self, request: HttpRequest, ports: Ports) -> HttpAnswer:
        """A page; or, as CSV and NDJSON without a limit, all that matches."""
        accepted = negotiation.chosen(request.headers.get("accept"))
        look = await self.source.now(ports.db, ports.clock)
        query = read(self.resource, look.columns, request.query)
        if query.limit is None and accepted != negotiation.JSON:
            return self._streamed(query, accepted, ports)
        query = msgspec.structs.replace(query, limit=query.limit or self.resource.page_rows)

        async def load() -> Entry:
            return await self._page(query, accepted, ports)

        entry = await self._entry(look, query, accepted, load, ports)
        return self._answer(request, accepted, entry, ports.metrics)

    async def one(self, request: HttpRequest, ports: Ports) -> HttpAnswer:
        """The row of a key. Raises `NotFound`."""
        accepted = negotiation.chosen(request.headers.get("accept"))
        look = await self.source.now(ports.db, ports.clock)
        query = read_one(self.resource, look.columns, _key_of(request.rest), request.query)

        async def load() -> Entry:
            return await self._single(query, accepted, ports)

        entry = await self._entry(look, query, accepted, load, ports)
        if entry.body is None:
            key = ",".join(one.values[0] for one in query.filters)
            raise NotFound(f"there is no {key[:100]!r} in {self.resource.name}")
        return self._answer(request, accepted, entry, ports.metrics)

    async def _entry(
        self, look: Look, query: Query, accepted: str, load: Callable[[], Awaitable[Entry]], ports: Ports
    ) -> Entry:
        """From the cache, or loaded: by one of those who want it now, for all of them, in whatever process they are."""
        place, name, keep_s = self._place(look, query, accepted), self.resource.name, self.resource.cache_s
        outcome = "cache"

        async def read() -> bytes:
            nonlocal outcome
            outcome = "read"
            with ports.metrics.timer(READ_DURATION, resource=name):
                return msgspec.msgpack.encode(await load())

        async def found() -> Entry:
            told = await (ports.cache.get_or_load(place, read, ttl_s=keep_s) if keep_s else read())
            ports.metrics.add(READS, resource=name, outcome=outcome)
            return _entries.decode(told)

        return await self._flight.of(place, found)

    async def _page(self, query: Query, accepted: str, ports: Ports) -> Entry:
        statement = compiled(self.resource, query, rendering.form_of(accepted))
        assert query.limit is not None  # it was given its default
        # One more than asked for tells whether there is another page.
        rows = await self._reader.page(statement, query.limit + 1, db=ports.db, log=ports.log)
        width = rendering.width_of(accepted, query)
        cursor = None
        if len(rows) > query.limit:
            del rows[query.limit :]
            cursor = cursors.written([str(one) for one in query.sort], rows[-1][width:])
        body = rendering.page(accepted, query, [row[:width] for row in rows], cursor)
        return Entry(body, rendering.tag_of(body, cursor), cursor)

    async def _single(self, query: Query, accepted: str, ports: Ports) -> Entry:
        statement = compiled(self.resource, query, rendering.form_of(accepted))
        rows = await self._reader.page(statement, 1, db=ports.db, log=ports.log)
        if not rows:
            return Entry(None)
        body = rendering.single(accepted, query, rows[0])
        return Entry(body, rendering.tag_of(body))

    def _streamed(self, query: Query, accepted: str, ports: Ports) -> HttpAnswer:
        if self._streams.locked():
            raise Unavailable("a long answer", f"{STREAMS} are under way here; try again, or ask for pages by a limit")
        ports.metrics.add(READS, resource=self.resource.name, outcome="streamed")
        return HttpAnswer(
            body=self._parts(query, accepted, ports), media_type=rendering.media_type(accepted), headers=_HEADERS
        )

    async def _parts(self, query: Query, accepted: str, ports: Ports) -> Parts:
        statement = compiled(self.resource, query, rendering.form_of(accepted))
        width = rendering.width_of(accepted, query)
        told = rendering.head(accepted, query)
        async with self._streams, aclosing(self._reader.all(statement, db=ports.db, log=ports.log)) as batches:
            async for batch in batches:
                yield told + rendering.lines(accepted, [row[:width] for row in batch])
                told = b""
        yield told

    def _answer(self, request: HttpRequest, accepted: str, entry: Entry, metrics: Metrics) -> HttpAnswer:
        headers = {**_HEADERS, "ETag": entry.tag}
        if entry.next is not None:
            asked = [(name, text) for name, text in request.query if name != "cursor"]
            headers["Link"] = f'<{request.path}?{urlencode([*asked, ("cursor", entry.next)])}>; rel="next"'
        media_type = rendering.media_type(accepted)
        if rendering.matches(request.headers.get("if-none-match", ""), entry.tag):
            metrics.add(READS, resource=self.resource.name, outcome="unchanged")
            return HttpAnswer(body=b"", status=304, media_type=media_type, headers=headers)
        return HttpAnswer(body=entry.body or b"", media_type=media_type, headers=headers)

    def _place(self, look: Look, query: Query, accepted: str) -> str:
        said = "\n".join((self._declared, look.version, accepted, query.identity))
        return f"api:{self.resource.name}:{hashlib.blake2b(said.encode(), digest_size=16).hexdigest()}"


def _key_of(rest: str) -> list[str]:
    """The parts of a key, with commas between; one that belongs to a value is %2C."""
    try:
        return [unquote(part, errors="strict") for part in rest.split(",")]
    except UnicodeDecodeError:
        raise Refused(400, "the key is not UTF-8, percent-encoded", [repr(rest[:100])]) from None
