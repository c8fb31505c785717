"""What users declared in `catalog/` instead of coding it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from contracts.aggregation import Aggregation
from contracts.dataset import Dataset
from contracts.enrichment import Enrichment
from contracts.event import Event
from contracts.quality import Suite
from contracts.resource import Resource


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """How many declarations there are, by the plural of their kind, and everything that is wrong with any of them."""

    counts: Mapping[str, int]
    faults: tuple[str, ...]


class Catalog(Protocol):
    """Read when asked for, so that an edit needs no restart. Faults of a file are `Faults`, all at once, each with
    file, line and path; a name that isn't there raises `NotFound` with the nearest ones."""

    def datasets(self) -> list[str]:
        """Every declared name, in order."""
        ...

    def dataset(self, name: str) -> Dataset: ...

    def events(self) -> list[str]: ...

    def event(self, name: str) -> Event: ...

    def aggregations(self) -> list[str]: ...

    def aggregation(self, name: str) -> Aggregation:
        """Checked against its event, too."""
        ...

    def enrichments(self) -> list[str]: ...

    def enrichment(self, name: str) -> Enrichment:
        """Checked against its event, too."""
        ...

    def suites(self) -> list[str]:
        """Of checks of quality."""
        ...

    def suite(self, name: str) -> Suite: ...

    def resources(self) -> list[str]: ...

    def resource(self, name: str) -> Resource: ...

    def survey(self) -> Survey:
        """Read everything, of every kind."""
        ...
