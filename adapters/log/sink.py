"""Where lines go: a text stream that may be slow to encode, closed or gone."""

from __future__ import annotations

from threading import Lock
from typing import TextIO


class Sink:
    """Writes whole lines, one at a time from any thread; never raises. What a broken stream refuses is counted."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = Lock()
        self.lost = 0

    def write(self, line: str) -> None:
        """Write the line and its break in one piece, and flush."""
        text = line + "\n"
        with self._lock:
            try:
                try:
                    self._stream.write(text)
                except UnicodeEncodeError:
                    encoding = self._stream.encoding or "ascii"
                    self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
                self._stream.flush()
            except (OSError, ValueError):  # the reader is gone, or the stream was closed while the process ends
                self.lost += 1
