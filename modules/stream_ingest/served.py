"""Which events are landed: those that the catalog declares so, as the arguments narrow them down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from contracts.errors import Faults, NotFound
from contracts.event import Event, Lake
from contracts.ports import Catalog
from contracts.stream_ingest import RunStreamIngest

_SUBJECT = "arguments of stream_ingest"


def served(catalog: Catalog, asked: RunStreamIngest) -> list[Event]:
    """Raises `Faults` with what is wrong with the arguments, or with the declarations that they need."""
    sound, broken = _declared(catalog)
    if asked.topic is not None:
        found = _of_topic(asked.topic, sound, broken)
    elif broken:
        raise Faults("events of the catalog", broken)
    else:
        found = [event for event in sound if event.land is not None]
    if twice := [topic for topic, count in Counter(event.topic for event in found).items() if count > 1]:
        raise Faults("events of the catalog", [_shared(topic, found) for topic in twice])
    if asked.output_format is not None and not any(event.land and event.land.lake for event in found):
        names = ", ".join(event.name for event in found) or "none"
        raise Faults(_SUBJECT, [f"output_format: is that of a lake, and no event that is landed has one ({names})"])
    return [_overridden(event, asked) for event in found]


def lakes(catalog: Catalog, name: str | None) -> dict[str, Lake]:
    """The lakes that are declared, or the one of this name; raises `NotFound`."""
    if name is not None:
        event = catalog.event(name)
        if event.land is None or event.land.lake is None:
            raise NotFound(f"event {name} declares no lake (land.lake in catalog/events/{name}.yaml)")
        return {name: event.land.lake}
    sound, _ = _declared(catalog)
    return {event.name: event.land.lake for event in sound if event.land and event.land.lake}


def _declared(catalog: Catalog) -> tuple[list[Event], list[str]]:
    sound, broken = [], []
    for name in catalog.events():
        try:
            sound.append(catalog.event(name))
        except Faults as error:
            broken += error.faults
    return sound, broken


def _of_topic(topic: str, sound: Sequence[Event], broken: Sequence[str]) -> list[Event]:
    of_topic = [event for event in sound if event.topic == topic]
    if not of_topic:
        known = ", ".join(sorted({event.topic for event in sound if event.land})) or "none"
        raise Faults(_SUBJECT, [f"topic: no event declares {topic!r}; those that are landed are {known}", *broken])
    landed = [event for event in of_topic if event.land is not None]
    if not landed:
        names = ", ".join(event.name for event in of_topic)
        raise Faults(_SUBJECT, [f"topic: {topic!r} is that of {names}, which has no `land`: say where it goes"])
    return landed


def _shared(topic: str, events: Sequence[Event]) -> str:
    names = " and ".join(event.name for event in events if event.topic == topic)
    return f"{names} are both landed from topic {topic}: messages of one topic are of one kind; leave `land` to one"


def _overridden(event: Event, asked: RunStreamIngest) -> Event:
    land = event.land
    assert land is not None
    if asked.batch_size is not None:
        land = msgspec.structs.replace(land, rows=asked.batch_size)
    if asked.output_format is not None and land.lake is not None:
        land = msgspec.structs.replace(land, lake=msgspec.structs.replace(land.lake, format=asked.output_format))
    return msgspec.structs.replace(event, land=land)
