"""The catalog of a test: what it declares itself, of any kind."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from contracts.aggregation import Aggregation
from contracts.dataset import Dataset
from contracts.enrichment import Enrichment
from contracts.errors import NotFound
from contracts.event import Event
from contracts.ports.catalog import Survey
from contracts.quality import Suite
from contracts.resource import Resource

D = TypeVar("D", bound=msgspec.Struct)


class DeclaredCatalog:
    """Implements `Catalog` on the Structs that it is given."""

    def __init__(self, *declared: msgspec.Struct) -> None:
        self._declared = declared

    def datasets(self) -> list[str]:
        return sorted(self._of(Dataset))

    def dataset(self, name: str) -> Dataset:
        return self._named(Dataset, name)

    def events(self) -> list[str]:
        return sorted(self._of(Event))

    def event(self, name: str) -> Event:
        return self._named(Event, name)

    def aggregations(self) -> list[str]:
        return sorted(self._of(Aggregation))

    def aggregation(self, name: str) -> Aggregation:
        return self._named(Aggregation, name)

    def enrichments(self) -> list[str]:
        return sorted(self._of(Enrichment))

    def enrichment(self, name: str) -> Enrichment:
        return self._named(Enrichment, name)

    def suites(self) -> list[str]:
        return sorted(self._of(Suite))

    def suite(self, name: str) -> Suite:
        return self._named(Suite, name)

    def resources(self) -> list[str]:
        return sorted(self._of(Resource))

    def resource(self, name: str) -> Resource:
        return self._named(Resource, name)

    def survey(self) -> Survey:
        raise NotImplementedError("a test knows what it declares")

    def _of(self, kind: type[D]) -> dict[str, D]:
        return {getattr(one, "name"): one for one in self._declared if isinstance(one, kind)}  # noqa: B009

    def _named(self, kind: type[D], name: str) -> D:
        try:
            return self._of(kind)[name]
        except KeyError:
            raise NotFound(name) from None
