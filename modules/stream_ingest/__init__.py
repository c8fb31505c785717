"""stream_ingest: events land in tables and lakes.

take    →  lake      →  table    →  shelf      →  announce
decode     files by     COPY, or    refused,      ingest.batch_landed
or refuse  date, then   merge by    with why
           manifest     key
"""

from __future__ import annotations

from modules.stream_ingest.module import module

__all__ = ["module"]
