"""What the exit code of every Millrace process says."""

from __future__ import annotations

DONE = 0
FAILED = 1
"""The job failed, or the process broke."""
WRONG = 2
"""Wrong arguments or settings: every fault was listed, nothing was started."""
CUT = 3
"""Cut short by a signal: what did not finish was handed back."""
