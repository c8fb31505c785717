"""What schedules are known to break, and that is still to be mended: they keep clear of it, so that they find the rest.

`python -m tests.simulation --no-gaps` goes there all the same. A gap that is mended is deleted here.
"""

from __future__ import annotations

from typing import Literal

Gap = Literal["lost claims", "letters of zombies", "charges of the living", "parked suspects handed on"]

LOST_CLAIMS: Gap = "lost claims"
"""A claim whose answer is lost belongs to a worker that lives and does not know of it: the job runs nowhere."""
LETTERS_OF_ZOMBIES: Gap = "letters of zombies"
"""Burying is not fenced: a worker that lost its partition may bury what its next owner handles well."""
CHARGES_OF_THE_LIVING: Gap = "charges of the living"
"""A suspect whose partition moves on while it is run alone stays charged for that run, which killed nobody."""
PARKED_SUSPECTS: Gap = "parked suspects handed on"
"""A clean handover forgets that what is parked was suspected: the next owner runs it in company, and uncharged."""

known: set[Gap] = {LOST_CLAIMS, LETTERS_OF_ZOMBIES, CHARGES_OF_THE_LIVING, PARKED_SUSPECTS}
