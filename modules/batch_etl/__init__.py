"""batch_etl: files become tables.

plan → read → cast → sort → load → record
files   exact    or reject   one row   straight,   counts and fingerprints
by day  lines    with why    per key   merge, …    in the same transaction
"""

from __future__ import annotations

from modules.batch_etl.module import module

__all__ = ["module"]
