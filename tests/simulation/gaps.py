"""What schedules are known to break, and that is still to be mended: they keep clear of it, so that they find the rest.

`python -m tests.simulation --no-gaps` goes there all the same. A gap that is mended is deleted here.
"""

from __future__ import annotations

from typing import Literal

Gap = Literal["lost claims", "repeats of parked messages", "parked poison"]

LOST_CLAIMS: Gap = "lost claims"
"""A claim whose answer is lost belongs to a worker that lives and does not know of it: the job runs nowhere."""
REPEATS_OF_PARKED: Gap = "repeats of parked messages"
"""`dedupe_s`: what was parked is neither looked up by its id when it is carried, nor remembered by it."""
PARKED_POISON: Gap = "parked poison"
"""What was parked is never charged, so it kills one process after the other."""

known: set[Gap] = {LOST_CLAIMS, REPEATS_OF_PARKED, PARKED_POISON}
