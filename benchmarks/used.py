"""What a contestant's own process takes, beside its rate."""

from __future__ import annotations

import resource
import time


class Used:
    """From here on; its memory is that of the whole process at its peak."""

    def __init__(self) -> None:
        self._began_s = time.process_time()

    def by(self, count: int) -> dict[str, float]:
        """Processor time for each of so many, in microseconds, and memory."""
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"cpu_us_each": (time.process_time() - self._began_s) / count * 1e6, "peak_mb": peak_mb}
