"""The catalog as a directory of YAML files: a folder per kind, a file per declaration."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any

from adapters.catalog.declaration import declaration_of
from adapters.catalog.kinds import AGGREGATION, DATASET, ENRICHMENT, EVENT, KINDS, RESOURCE, SUITE, D, Kind
from adapters.catalog.yaml_tree import LARGEST_BYTES
from contracts.aggregation import Aggregation
from contracts.dataset import Dataset
from contracts.enrichment import Enrichment
from contracts.errors import Faults, Gathered, NotFound
from contracts.event import Event
from contracts.ports.catalog import Survey
from contracts.quality import Suite
from contracts.resource import Resource

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_ENDING = ".yaml"


class YamlCatalog:
    """Implements `Catalog` on `directory`; a file is read each time that it is asked for."""

    def __init__(self, directory: Path | str) -> None:
        self._directory = Path(directory)

    def datasets(self) -> list[str]:
        return self.names(DATASET)

    def dataset(self, name: str) -> Dataset:
        return self.declared(DATASET, name)

    def events(self) -> list[str]:
        return self.names(EVENT)

    def event(self, name: str) -> Event:
        return self.declared(EVENT, name)

    def aggregations(self) -> list[str]:
        return self.names(AGGREGATION)

    def aggregation(self, name: str) -> Aggregation:
        return self.declared(AGGREGATION, name)

    def enrichments(self) -> list[str]:
        return self.names(ENRICHMENT)

    def enrichment(self, name: str) -> Enrichment:
        return self.declared(ENRICHMENT, name)

    def suites(self) -> list[str]:
        return self.names(SUITE)

    def suite(self, name: str) -> Suite:
        return self.declared(SUITE, name)

    def resources(self) -> list[str]:
        return self.names(RESOURCE)

    def resource(self, name: str) -> Resource:
        return self.declared(RESOURCE, name)

    def survey(self) -> Survey:
        counts, gathered = {}, Gathered("catalog")
        for kind in KINDS:
            names = self.names(kind)
            counts[kind.folder] = len(names)
            for name in names:
                with gathered.one():
                    self.declared(kind, name)
        return Survey(counts=counts, faults=tuple(gathered.faults))

    def names(self, kind: Kind[Any]) -> list[str]:
        """The names of the files, whether or not they can be read; empty without the folder."""
        try:
            names = os.listdir(self._directory / kind.folder)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name.removesuffix(_ENDING) for name in names if name.endswith(_ENDING) and name[0] != ".")

    def declared(self, kind: Kind[D], name: str) -> D:
        """Read and checked whole."""
        content = self._content(kind, name)
        return declaration_of(kind, content, file=f"{kind.folder}/{name}{_ENDING}", name=name, event=self.event)

    def _content(self, kind: Kind[Any], name: str) -> bytes:
        path = self._directory / kind.folder / f"{name}{_ENDING}"
        # The name is matched before the path is used: nothing outside of the folder is ever opened.
        if not _NAME.fullmatch(name):
            raise self._not_found(kind, name)
        try:
            with path.open("rb") as file:
                return file.read(LARGEST_BYTES + 1)
        except FileNotFoundError:
            raise self._not_found(kind, name) from None
        except OSError as error:
            why = f"{kind.folder}/{name}{_ENDING} can't be read: {error.strerror}"
            raise Faults(f"{kind.name} {name}", [why]) from error

    def _not_found(self, kind: Kind[Any], name: str) -> NotFound:
        known = self.names(kind)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        if (self._directory / kind.folder / f"{name}.yml").exists() and _NAME.fullmatch(name):
            hint = f"rename {name}.yml to {name}{_ENDING}"
        elif near:
            hint = f"did you mean {' or '.join(near)}?"
        elif known:
            hint = f"there are: {', '.join(known[:20])}{', …' if len(known) > 20 else ''}"
        else:
            hint = f"there is no {kind.folder}/*{_ENDING} in {self._directory}"
        return NotFound(f"there is no {kind.name} {name!r} in the catalog; {hint}")
