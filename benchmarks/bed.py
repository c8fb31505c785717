"""The services that a session of measurements shares: each started when it is first asked for, ended with the block."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from benchmarks import server
from tests.kit import services


class CannotMeasure(Exception):
    """What is needed can't be had here; says what was tried and what would help."""


class Bed:
    """An async context. PostgreSQL is the embedded one, or that of `BENCH_POSTGRES_URL`; Kafka is found as tests find
    it: the given one, in a container, or native."""

    def __init__(self) -> None:
        self.used: dict[str, str] = {}
        """What was asked for since it was last emptied, and where it comes from: a broker in a container is not one on
        the machine itself."""
        self._ending = AsyncExitStack()
        self._postgres = ""
        self._kafka: services.Running | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._ending.aclose()

    async def postgres(self) -> str:
        """Its URL."""
        if not self._postgres:
            self._postgres = await self._ending.enter_async_context(server.postgres())
        self.used["postgresql"] = server.GIVEN if os.environ.get(server.GIVEN) else "embedded"
        return self._postgres

    async def kafka(self) -> services.Running:
        """Raises `CannotMeasure`."""
        if self._kafka is None:
            service = services.Kafka()
            self._kafka = service.start()
            if self._kafka is None:
                raise CannotMeasure(f"Kafka can't be had: {'; '.join(service.reasons)}. {service.remedy}")
            self._ending.callback(service.stop)
        self.used["kafka"] = self._kafka.how.partition(",")[0]
        return self._kafka
