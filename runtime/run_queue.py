"""How long a thread was ready to run and had no processor, as Linux counts it (`/proc/*/schedstat`)."""

from __future__ import annotations


def queued_s(thread: int) -> float:
    """Seconds since the thread of this process with this native id began; 0 where the system does not count them."""
    try:
        with open(f"/proc/self/task/{thread}/schedstat", "rb") as counted:
            return int(counted.read().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
