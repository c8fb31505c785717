"""The kinds of what users declare: each is a folder of the catalog and a Struct of the contracts."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from contracts.aggregation import Aggregation
from contracts.dataset import Dataset
from contracts.enrichment import Enrichment
from contracts.event import Event
from contracts.quality import Suite
from contracts.resource import Resource

D = TypeVar("D", bound=msgspec.Struct)


class Kind(msgspec.Struct, Generic[D], frozen=True, kw_only=True):
    """Declarations `folder`/NAME.yaml, each a `struct`, whose `faults()` tells what its types can't say.

    With `of_event`, the path of a field, that is given the event which the declaration names there, if it names one.
    Where a field among `decisive` is faulty, nothing is told of the others but what their types say: what is wrong with
    them is told by it. A required field that is not among them is a text.
    """

    name: str
    folder: str
    struct: type[D]
    decisive: frozenset[str]
    of_event: str = ""


DATASET = Kind(
    name="dataset",
    folder="datasets",
    struct=Dataset,
    decisive=frozenset({"source", "columns", "format", "compression", "key", "duplicates", "mode", "partition_by"}),
    of_event="publish.event",
)
EVENT = Kind(name="event", folder="events", struct=Event, decisive=frozenset({"columns", "time"}))
AGGREGATION = Kind(
    name="aggregation",
    folder="aggregations",
    struct=Aggregation,
    decisive=frozenset({"key", "window", "measures", "to", "late", "lateness_s"}),
    of_event="event",
)
ENRICHMENT = Kind(
    name="enrichment", folder="enrichments", struct=Enrichment, decisive=frozenset({"lookup"}), of_event="event"
)
RESOURCE = Kind(
    name="resource", folder="resources", struct=Resource, decisive=frozenset({"columns", "key", "filters", "sort"})
)

SUITE = Kind(name="suite", folder="quality", struct=Suite, decisive=frozenset({"tables"}))

KINDS: tuple[Kind[Any], ...] = (DATASET, EVENT, AGGREGATION, ENRICHMENT, RESOURCE, SUITE)
