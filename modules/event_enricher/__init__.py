"""event_enricher: events go on with what they refer to.

key → cache → table → send on, put aside, or to the side
            one statement      one transaction with the position
            for all misses
"""

from __future__ import annotations

from modules.event_enricher.module import module

__all__ = ["module"]
