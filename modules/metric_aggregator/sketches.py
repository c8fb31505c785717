"""Approximations of what would take every value to know: how many there are, and which lie where.

By Apache DataSketches. Both give the same for the same values in the same order, however these are divided into batches
and whatever was saved and restored between: so a repeat comes to the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from contracts.errors import Permanent

LG_K = 12
"""4096 registers: the estimate is off by 1.6 % in two of three cases, and close to exact below 400 values."""

COMPRESSION = 200
AT_ONCE = 512
"""So many values are taken into the digest together. Until then they are kept as they are, since a digest depends on
when it is compressed."""

LARGEST_DISTINCT_BYTES = (1 << LG_K) + 40


def library() -> Any:
    """The package, which is an extra. Raises `Permanent` where it is missing."""
    try:
        import datasketches
    except ImportError:
        raise Permanent(
            "distinct and quantile need the package datasketches, which is not installed (there is none for Python 3.14"
            " yet): install the extra `sketches`, or leave these measures out"
        ) from None
    return datasketches


class Distinct:
    """About how many different values there were."""

    __slots__ = ("_sketch",)

    def __init__(self, packed: bytes | None = None) -> None:
        sketches = library()
        if packed is None:
            self._sketch = sketches.hll_sketch(LG_K, sketches.tgt_hll_type.HLL_8)
        else:
            self._sketch = sketches.hll_sketch.deserialize(packed)

    def add(self, values: Iterable[int | float | str]) -> None:
        update = self._sketch.update
        for value in values:
            update(value)

    @property
    def value(self) -> int:
        estimate: float = self._sketch.get_estimate()
        return round(estimate)

    @property
    def weight_bytes(self) -> int:
        return int(self._sketch.get_compact_serialization_bytes())

    def packed(self) -> bytes:
        return bytes(self._sketch.serialize_compact())

    def joined(self, other: Distinct) -> Distinct:
        """Of both together."""
        sketches = library()
        union = sketches.hll_union(LG_K)
        union.update(self._sketch)
        union.update(other._sketch)
        return Distinct(bytes(union.get_result(sketches.tgt_hll_type.HLL_8).serialize_compact()))


class Quantiles:
    """About which value lies above a given share of all: a t-digest."""

    __slots__ = ("_digest", "_waiting")

    def __init__(self, packed: tuple[bytes, list[float]] | None = None) -> None:
        sketches = library()
        digest, self._waiting = packed or (b"", [])
        self._digest = sketches.tdigest_double.deserialize(digest) if digest else None

    def add(self, values: Iterable[float]) -> None:
        self._waiting.extend(values)
        while len(self._waiting) >= AT_ONCE:
            if self._digest is None:
                self._digest = library().tdigest_double(COMPRESSION)
            _take(self._digest, self._waiting[:AT_ONCE])
            del self._waiting[:AT_ONCE]

    def at(self, q: float) -> float | None:
        """Exact while there are few values. None without any."""
        if self._digest is None:
            if not self._waiting:
                return None
            return sorted(self._waiting)[min(int(q * len(self._waiting)), len(self._waiting) - 1)]
        whole = library().tdigest_double.deserialize(self._digest.serialize())
        _take(whole, self._waiting)
        return float(whole.get_quantile(q))

    @property
    def weight_bytes(self) -> int:
        digest = 0 if self._digest is None else int(self._digest.get_serialized_size_bytes())
        return digest + 32 * len(self._waiting)

    def packed(self) -> tuple[bytes, list[float]]:
        return (b"" if self._digest is None else bytes(self._digest.serialize())), self._waiting

    def joined(self, other: Quantiles) -> Quantiles:
        """Of both together."""
        made = Quantiles((self.packed()[0], list(self._waiting)))
        if other._digest is not None:
            if made._digest is None:
                made._digest = library().tdigest_double(COMPRESSION)
            made._digest.merge(other._digest)
            made._digest.compress()
        made.add(other._waiting)
        return made


def _take(digest: Any, values: Iterable[float]) -> None:
    for value in values:
        digest.update(value)
    digest.compress()
