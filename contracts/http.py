"""A module's own part of the worker's HTTP: a path, and a function that answers what is asked there.

    @module.http("/api/orders", scope="read:orders")
    async def orders(request: HttpRequest, db: Db) -> HttpAnswer: ...

The runtime does what is the same for all: it asks who may, bounds the time, hands the adapters over, sends the answer,
logs the request, and describes the path in the OpenAPI document. Paths are read only: what changes something is a
command, which is posted, recorded and retried.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from contracts.errors import MillraceError

Handler = Callable[..., Awaitable["HttpAnswer"]]
Parts = AsyncGenerator[bytes, None]


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked. `rest` is what stands at the place of `{…}` in the path, percent-encoded as it came; `query` has
    the parameters in their order, decoded; the names of `headers` are in lower case."""

    path: str
    rest: str = ""
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)


class HttpAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What is answered. A `body` in parts is sent as it is made, and closed whatever happens: its reader may leave."""

    body: bytes | Parts
    media_type: str = "application/json"
    status: int = 200
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)


class HttpRoute(msgspec.Struct, frozen=True, kw_only=True):
    """`GET path`, whose last part may be `{NAME}` for whatever stands there. `scope` is what an API key needs, and
    `timeout_s` bounds the answer, with everything that is sent. `operations` describe it as OpenAPI does, by path: a
    path may be told in more than one form, or in more detail than it is matched by."""

    path: str
    handler: Handler
    scope: str
    timeout_s: float
    operations: Callable[[], Mapping[str, Mapping[str, Any]]]


class Refused(MillraceError):
    """What was asked can't be answered so: `faults` has a line for each thing that is wrong with it."""

    def __init__(
        self, status: int, detail: str, faults: Sequence[str] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__("\n".join([detail, *faults]))
        self.status = status
        self.detail = detail
        self.faults = list(faults)
        self.headers = dict(headers or {})
