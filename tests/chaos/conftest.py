"""Without asyncio's debug checks: what is tried is in other processes, and this one has proxies to run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest


@pytest.fixture(autouse=True)
async def unwatched() -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    loop.set_debug(False)
    yield
    loop.set_debug(True)
