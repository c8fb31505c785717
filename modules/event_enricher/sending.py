"""The event that is sent on: the fields of the one that came, those that were added, and its key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from contracts.enrichment import Enrichment
from contracts.event import Event, struct_of
from contracts.ports import Emit

Added = tuple[msgspec.Raw, ...]
"""The values that are added, in JSON, in the order of their declaration."""


class Sender:
    """Of one enrichment. Each method takes the place of the event in its batch: what is sent has its identity of it."""

    def __init__(self, enrichment: Enrichment, event: Event) -> None:
        added = [one.field for one in enrichment.lookup.add] if enrichment.lookup else []
        self._enriched = _enriched(event, added)
        self._to = enrichment.to
        self._key = _key_of(enrichment.key or event.key, added)
        self._own_key = _key_of(event.key, [])

    async def on(self, at: int, event: msgspec.Struct, added: Added, emit: Emit) -> None:
        """To where events go, with what is added."""
        message = self._enriched(*msgspec.structs.astuple(event), *added) if added else event
        await emit(self._to, message, key=self._key(event, added), of=at)

    async def aside(
        self, address: str, at: int, message: msgspec.Struct, event: msgspec.Struct, emit: Emit, *, after_s: float = 0.0
    ) -> None:
        """A message about the event to somewhere else, under the event's own key."""
        await emit(address, message, key=self._own_key(event, ()), after_s=after_s, of=at)


def _enriched(event: Event, added: list[str]) -> type[msgspec.Struct]:
    """What is only written: its values were checked where they come from."""
    return msgspec.defstruct(
        "Enriched" + struct_of(event).__name__,
        [(name, Any) for name in (*(column.name for column in event.columns), *added)],
        rename={column.name: column.source_name for column in event.columns},
        frozen=True,
        gc=False,
    )


def _key_of(field: str | None, added: list[str]) -> Callable[[msgspec.Struct, Added], str | None]:
    if field is None:
        return lambda event, values: None
    if field in added:
        place = added.index(field)
        return lambda event, values: _text(msgspec.json.decode(values[place]))
    name = field
    return lambda event, values: _text(getattr(event, name))


def _text(value: Any) -> str | None:
    """A null is no key: such events keep no order among themselves."""
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode().strip('"')
