"""Which columns of a table are personal: what users declared of it, wherever they did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from contracts.dataset import Column
from contracts.errors import Faults, NotFound
from contracts.ports import Catalog
from contracts.quality import CheckedTable
from contracts.redaction import HIDDEN


class Privacy(msgspec.Struct, frozen=True, kw_only=True):
    """What is hidden when failing rows are shown: the `personal` columns and, where any is declared in a dataset or an
    event, whatever isn't `declared` there. Where declarations can't be read (`unsure`), everything."""

    personal: frozenset[str] = frozenset()
    declared: frozenset[str] | None = None
    unsure: bool = False

    @property
    def any(self) -> bool:
        return self.unsure or bool(self.personal)

    def masked(self, row: Mapping[str, str | None]) -> dict[str, str | None]:
        """The same row without what is hidden; a null is shown."""
        return {name: HIDDEN if value is not None and self._hides(name) else value for name, value in row.items()}

    def _hides(self, name: str) -> bool:
        if name == ROWS or not self.any:
            return False
        return self.unsure or name in self.personal or (self.declared is not None and name not in self.declared)


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """What datasets and events say of a table: its key and its columns' privacy."""

    privacy: Privacy
    key: tuple[str, ...] = ()


ROWS = "(rows)"
"""A count of ours among the columns of a row: it is nobody's."""


def declared_of(table: CheckedTable, catalog: Catalog) -> Declared:
    """Of all datasets and events whose table, or lake, it is."""
    owners: list[tuple[Sequence[Column], tuple[str, ...]]] = []
    unsure = False
    for declarations in (_events(table, catalog), _datasets(table, catalog)):
        for owner in declarations:
            if owner is None:
                unsure = True
            else:
                owners.append(owner)
    marked = {column.name for columns, _ in owners for column in columns if column.personal}
    known = frozenset(column.name for columns, _ in owners for column in columns) if marked else None
    privacy = Privacy(
        personal=frozenset(marked | set(table.personal)),
        declared=None if known is None else known | set(table.key),
        unsure=unsure,
    )
    return Declared(privacy=privacy, key=next((key for _, key in owners if key), ()))


_Owner = tuple[Sequence[Column], tuple[str, ...]] | None


def _datasets(table: CheckedTable, catalog: Catalog) -> Iterator[_Owner]:
    for name in catalog.datasets() if table.lake is None else ():
        try:
            dataset = catalog.dataset(name)
        except (Faults, NotFound):
            yield None
            continue
        if _same(dataset.table, table.source):
            yield dataset.columns, dataset.key


def _events(table: CheckedTable, catalog: Catalog) -> Iterator[_Owner]:
    for name in [table.lake] if table.lake else catalog.events():
        try:
            event = catalog.event(name)
        except (Faults, NotFound):
            yield None
            continue
        land = event.land
        if table.lake or (land is not None and land.table is not None and _same(land.table, table.source)):
            yield event.columns, land.key if land else ()


def _same(one: str, other: str) -> bool:
    return one.removeprefix("public.") == other.removeprefix("public.")
