"""data_quality: suites of checks on tables and lakes.

facts → ask → judge → sample → record
columns  one    warn,   rows      results, quality.completed and
and key  scan   fail    by key    the report: one transaction
"""

from __future__ import annotations

from modules.data_quality.module import module

__all__ = ["module"]
