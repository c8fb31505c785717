"""The event that is sent on: the fields of the one that came, those that were added, and its key."""

from __future__ import annotations

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
        self._key = enrichment.key or event.key
        self._key_at = added.index(enrichment.key) if enrichment.key in added else None
        self._own_key = event.key

    async def on(self, at: int, event: msgspec.Struct, added: Added, emit: Emit) -> None:
        """To where events go, with what is added."""
        message = self._enriched(*msgspec.structs.astuple(event), *added) if added else event
        await emit(self._to, message, key=self._key_of(event, added), of=at)

    async def aside(
        self, address: str, at: int, message: msgspec.Struct, event: msgspec.Struct, emit: Emit, *, after_s: float = 0.0
    ) -> None:
        """A message about the event to somewhere else, under the event's own key."""
        await emit(
            address,
            message,
            key=_text(getattr(event, self._own_key)) if self._own_key else None,
            after_s=after_s,
            of=at,
        )

    def _key_of(self, event: msgspec.Struct, added: Added) -> str | None:
        if self._key_at is not None:
            return _text(msgspec.json.decode(added[self._key_at]))
        return _text(getattr(event, self._key)) if self._key else None


def _enriched(event: Event, added: list[str]) -> type[msgspec.Struct]:
    """What is only written: its values were checked where they come from."""
    return msgspec.defstruct(
        "Enriched" + struct_of(event).__name__,
        [(name, Any) for name in (*(column.name for column in event.columns), *added)],
        rename={column.name: column.source_name for column in event.columns},
        frozen=True,
        gc=False,
    )


def _text(value: Any) -> str | None:
    """A null is no key: such events keep no order among themselves."""
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode().strip('"')
