"""Typed frames as the bytes of COPY."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from contracts.ports.database import CopyFormat

if TYPE_CHECKING:
    import polars as pl

SEND_ROWS = 32 << 10


def encoded(frames: Iterator[pl.DataFrame], names: Sequence[str]) -> tuple[CopyFormat, Iterator[bytes]]:
    """The format, and buffers of a bounded size. Null is an empty value, an empty text is quoted."""
    return "csv", _csv(frames, names)


def _csv(frames: Iterator[pl.DataFrame], names: Sequence[str]) -> Iterator[bytes]:
    for frame in frames:
        for at in range(0, frame.height, SEND_ROWS):
            out = io.BytesIO()
            frame.slice(at, SEND_ROWS).select(names).write_csv(
                out, include_header=False, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ"
            )
            yield out.getvalue()
