"""Whether somebody ends this task, or only something that it waited for was cancelled.

Up to Python 3.12 a `TaskGroup` whose task fails while it waits for its end leaves its own cancellation counted. So what
goes on in a task after another's work begins with a clean sheet: else it would look for ever as if somebody ended it.
"""

from __future__ import annotations

import asyncio


def being_cancelled() -> bool:
    """Of a `CancelledError` that has come: whether somebody asked this task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def forget_cancellations() -> None:
    """What was counted so far was meant for what has ended: this task goes on."""
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
