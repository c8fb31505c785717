"""The names under which one secret is looked for."""

from __future__ import annotations


def spellings(key: str) -> tuple[str, ...]:
    """The key as given, then in upper case with `-` and `.` as `_`, without repeats."""
    upper = key.upper().replace("-", "_").replace(".", "_")
    return (key,) if upper == key else (key, upper)
