"""The rows that are not loaded: counted all, kept up to a bound, each with its reasons and its text."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec

from contracts.quarantine import MASK, Reason, storable, storable_reason


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """A rejected row as it goes into quarantine. `file` is its index among the files of the part."""

    file: int
    line: int
    reasons: list[Reason]
    raw: str
    raw_bytes: int
    escaped: bool


class Rejects:
    """Collects on disk, so that a file full of bad rows costs no memory. Not thread-safe: one thread at a time."""

    def __init__(self, *, limit: int, scratch: str | None = None, personal: bool = False) -> None:
        self.limit = limit
        self.personal = personal
        self.count = 0
        self.kept = 0
        self.by_reason: Counter[str] = Counter()
        self._file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - `close` closes it
        self._encoder = msgspec.json.Encoder()
        self._decoder = msgspec.json.Decoder(Kept)

    def add(
        self,
        file: int,
        line: int,
        reasons: list[Reason],
        raw: Callable[[], bytes],
        mask: Callable[[bytes], bytes] | None,
    ) -> None:
        """`raw` is only asked when the row is kept. `mask` hides personal values in it; without one all of it is
        hidden when any column is personal."""
        self.count += 1
        self.by_reason.update({reason.group for reason in reasons})
        if self.kept >= self.limit:
            return
        self.kept += 1
        text = raw()
        size = len(text)
        if self.personal:
            text = mask(text) if mask is not None else f"{MASK} (could not be split, and has personal columns)".encode()
        shown, escaped = storable(text)
        kept = Kept(file, line, [storable_reason(reason) for reason in reasons], shown, size, escaped)
        self._file.write(self._encoder.encode(kept) + b"\n")

    def rows(self) -> Iterator[Kept]:
        """Those that were kept, in the order in which they came."""
        self._file.seek(0)
        for line in self._file:
            yield self._decoder.decode(line)

    def close(self) -> None:
        self._file.close()
