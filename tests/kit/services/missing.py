"""What can't be had here: a failure in CI, a skip with the remedy elsewhere, and a line at the end of the run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest


class Untried(msgspec.Struct, frozen=True, kw_only=True):
    """Something that tests asked for in vain."""

    what: str
    reason: str
    remedy: str


_untried: dict[str, Untried] = {}


def untried() -> list[Untried]:
    return list(_untried.values())


def remember(each: Untried) -> None:
    """For the summary."""
    _untried[each.what] = each


def missing(what: str, *, reason: str, remedy: str, needed_in_ci: bool = True) -> NoReturn:
    """End the test that asked for it, and remember it for the summary."""
    remember(Untried(what=what, reason=reason, remedy=remedy))
    if needed_in_ci and os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"{what} is missing: {reason}. {remedy}", pytrace=False)
    pytest.skip(f"{what} is missing: {reason}. {remedy}")


def reference_data() -> Path:
    """The directory of files whose right answers are known; the tests that need it are skipped without it."""
    remedy = "Set MILLRACE_REFERENCE_DATA to the directory that holds them."
    if not (place := os.environ.get("MILLRACE_REFERENCE_DATA")):
        missing("reference data", reason="MILLRACE_REFERENCE_DATA is not set", remedy=remedy, needed_in_ci=False)
    if not Path(place).is_dir():
        missing("reference data", reason=f"{place} is no directory", remedy=remedy, needed_in_ci=False)
    return Path(place)
