"""Ids that sort by time: UUID version 7 (RFC 9562, section 5.7) as 32 hex digits."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock


class IdSource:
    """Makes ids from a clock of nanoseconds since 1970 and a source of random bits.

    Of two ids of one source the later one sorts after the earlier one, also within a millisecond and when the clock
    goes back: the 12 bits below the milliseconds hold their fraction (RFC 9562, section 6.2, method 3), and a stamp
    that is not past the last one becomes the last one plus 1. 62 random bits keep the ids of processes apart.
    Thread-safe.
    """

    def __init__(self, now_ns: Callable[[], int], random_bits: Callable[[int], int]) -> None:
        self._now_ns = now_ns
        self._random_bits = random_bits
        self._last = 0
        self._lock = Lock()

    def next(self) -> str:
        """A fresh id."""
        milliseconds, rest_ns = divmod(self._now_ns(), 1_000_000)
        stamp = (milliseconds << 12) | (rest_ns << 12) // 1_000_000
        with self._lock:
            stamp = self._last = max(stamp, self._last + 1)
        milliseconds, fraction = stamp >> 12, stamp & 0xFFF
        return f"{(milliseconds << 80) | (0x7 << 76) | (fraction << 64) | (0b10 << 62) | self._random_bits(62):032x}"
