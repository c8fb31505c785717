"""batch_etl: files become tables.

plan → read → cast → sort → load → record
files   exact    or reject   one row   straight,   counts and fingerprints
by day  lines    with why    per key   merge, …    in the same transaction
"""

from __future__ import annotations

import os

from modules.batch_etl.module import module

# Polars' allocator (jemalloc) keeps freed pages for later, which counts as our memory. It reads this when Polars is
# imported, so it stands before any such import: given back after a tenth of a second, the peak falls by a tenth.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:100,muzzy_decay_ms:0")

__all__ = ["module"]
