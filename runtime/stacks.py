"""Where something stands right now, as text: files, lines and names; never values, which may be anybody's."""

from __future__ import annotations

import asyncio
import sys
import traceback
from types import FrameType
from typing import Any

MOST_FRAMES = 60
MOST_CHARACTERS = 6_000
"""What is innermost is at the end, and is what one wants to know."""


def of_coroutine(coroutine: Any, task: asyncio.Task[Any] | None = None) -> str:
    """From the coroutine down to the innermost thing that it awaits, and through the tasks that it waits for; `task`
    is the one that runs it."""
    lines: list[str] = []
    while coroutine is not None and len(lines) < MOST_FRAMES:
        awaited = _walk(coroutine, lines)
        # What a task waits for is told by no coroutine: they only say that it is a future.
        future = getattr(task, "_fut_waiter", None)
        if isinstance(future, asyncio.Task):
            lines.append(f"  in task {future.get_name()}:\n")
            task, coroutine = future, future.get_coro()
            continue
        waits_for = future if future is not None else awaited
        lines.append(f"  waits for {_kind(waits_for)}\n" if waits_for is not None else "  does not wait\n")
        break
    return _end_of("".join(lines))


def of_thread(ident: int) -> str:
    """What the thread is running; empty when there is none with this number."""
    frame = sys._current_frames().get(ident)
    return _end_of("".join(traceback.format_stack(frame, limit=MOST_FRAMES))) if frame else ""


def _walk(awaitable: Any, lines: list[str]) -> Any:
    """Adds the frames of what is awaited in turn; returns what stands at the end and has none."""
    frames: list[tuple[FrameType, int]] = []
    while len(frames) < MOST_FRAMES:
        frame, inner = _frame_of(awaitable)
        if frame is None:
            break
        frames.append((frame, frame.f_lineno))
        awaitable = inner
        if awaitable is None:
            break
    lines.extend(traceback.StackSummary.extract(iter(frames)).format())
    return awaitable


def _frame_of(awaitable: Any) -> tuple[FrameType | None, Any]:
    for frame, inner in _NAMES:
        if hasattr(awaitable, frame):
            return getattr(awaitable, frame), getattr(awaitable, inner)
    return None, None


_NAMES = (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await"))


def _kind(awaited: Any) -> str:
    kind = type(awaited)
    return (
        kind.__qualname__ if kind.__module__ in ("builtins", "_asyncio") else f"{kind.__module__}.{kind.__qualname__}"
    )


def _end_of(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"…{text[-MOST_CHARACTERS:]}"
