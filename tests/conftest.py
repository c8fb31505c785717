"""What every test has."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """asyncio with its debug checks: a coroutine that was never awaited or a callback that blocks is told."""
    return "asyncio", {"debug": True}
