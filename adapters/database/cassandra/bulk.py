"""Many rows, some of them in flight at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

Write = Callable[[int, Sequence[Any]], Awaitable[None]]


async def side_by_side(rows: Iterable[Sequence[Any]], write: Write, *, most: int) -> int:
    """`write` each row with its number (from 1), `most` of them at a time; returns how many. Rows are taken as they are
    written, in their order. After the first error no more are taken, what is under way ends, and it is raised."""
    numbered = enumerate(rows, start=1)
    errors: list[Exception] = []
    written = 0

    async def work() -> None:
        nonlocal written
        try:
            for number, row in numbered:
                await write(number, row)
                written += 1
                if errors:
                    return
        except Exception as error:  # noqa: BLE001 - raised below, when nothing is under way any more
            errors.append(error)

    async with asyncio.TaskGroup() as group:
        for _ in range(most):
            group.create_task(work())
    if errors:
        raise errors[0]
    return written
