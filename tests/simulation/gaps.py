"""What schedules are known to break, and that is still to be mended: they keep clear of it, so that they find the rest.

`python -m tests.simulation --no-gaps` goes there all the same. A gap that is mended is deleted here.
"""

from __future__ import annotations

from typing import Literal

Gap = Literal["lost claims", "letters of zombies"]

LOST_CLAIMS: Gap = "lost claims"
"""A claim whose answer is lost belongs to a worker that lives and does not know of it: the job runs nowhere."""
LETTERS_OF_ZOMBIES: Gap = "letters of zombies"
"""Burying is not fenced: a worker that lost its partition may bury what its next owner handles well."""

known: set[Gap] = {LOST_CLAIMS, LETTERS_OF_ZOMBIES}
