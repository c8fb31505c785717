"""Asking the cluster again while it finds its feet: a new one has no coordinator yet, a restarted one no leaders."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiokafka.errors import KafkaError  # type: ignore[import-untyped]

from contracts.errors import Unavailable
from contracts.ports.clock import Clock

FIRST_RETRY_S = 0.05
LAST_RETRY_S = 1.0

Answer = TypeVar("Answer")


async def patiently(ask: Callable[[], Awaitable[Answer]], clock: Clock, *, wait_s: float, what: str) -> Answer:
    """The answer, within `wait_s`. Raises `Unavailable` with the last trouble, for one that won't pass at once."""
    retry_s = FIRST_RETRY_S
    trouble = "no answer"
    try:
        async with clock.timeout(wait_s):
            while True:
                try:
                    return await ask()
                except KafkaError as error:
                    trouble = str(error) or type(error).__name__
                    if not error.retriable:
                        raise Unavailable("kafka", f"{what}: {trouble}") from error
                await clock.sleep(retry_s)
                retry_s = min(retry_s * 2, LAST_RETRY_S)
    except TimeoutError:
        raise Unavailable("kafka", f"{what}: {trouble} (waited {wait_s:g} s)") from None
