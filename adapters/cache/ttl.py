"""The times to live that there can be."""

from __future__ import annotations


def check_ttl(key: str, ttl_s: float | None) -> None:
    """Raises `ValueError`."""
    if ttl_s is not None and not ttl_s > 0:
        raise ValueError(f"cache key {key!r}: ttl_s={ttl_s} must be more than 0; to forget the key, delete it")
