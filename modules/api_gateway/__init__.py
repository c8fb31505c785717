"""api_gateway: tables and views, read over HTTP.

query string ─▶ query ─▶ cache ─▶ statement ─▶ rows ─▶ JSON, CSV, NDJSON
                every    by what   read only,
                fault    the source bounded
                at once  is now
"""

from __future__ import annotations

from modules.api_gateway.module import module

__all__ = ["module"]
