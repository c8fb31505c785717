"""The bytes of a declaration as the Struct of its kind, or everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from adapters.catalog.decode import Decoder, line_of, plain_at
from adapters.catalog.kinds import D, Kind
from adapters.catalog.yaml_tree import Broken, Fault, Node, parse, text_of
from contracts.dataset import Column
from contracts.errors import Faults, NotFound
from contracts.event import Event

Events = Callable[[str], Event]
"""Events by name; raises `NotFound` and `Faults`."""


def declaration_of(
    kind: Kind[D], content: bytes, *, file: str, name: str | None = None, event: Events | None = None
) -> D:
    """What `content` declares; raises `Faults` with everything that is wrong, by line of `file`.

    With `name`, the declared one must be that; with `event`, it is checked against the event that it names.
    """
    subject = f"{kind.name} {name or file}"
    try:
        root, faults = parse(text_of(content))
    except Broken as broken:
        raise Faults(subject, [_shown(file, Fault(broken.line, "", broken.why))]) from None
    decoder = Decoder()
    declared: D | None = decoder.decode(root, kind.struct)
    faults += decoder.faults
    faults += _contradictions(kind, root, declared, decoder, faults, event)
    own = root.fields.get("name") if root.kind == "map" else None
    if name is not None and own is not None and own.value != name:
        faults.append(Fault(own.line, "name", f"is {own.shown()}: it must be the file's, {name}"))
    if faults:
        raise Faults(subject, [_shown(file, fault) for fault in sorted(set(faults))])
    assert declared is not None
    return declared


def _contradictions(
    kind: Kind[D], root: Node, declared: D | None, decoder: Decoder, known: list[Fault], event: Events | None
) -> list[Fault]:
    """What a type can't say, but for what only follows from a fault that is known."""
    faulty = {fault.path for fault in known if fault.path}
    columns = _sound_columns(decoder)
    unsure = {
        column.name for at, column in columns.items() if any(path.startswith(f"columns[{at}]") for path in faulty)
    }
    whole: Any = declared or _sound_part(kind, decoder, columns)
    if whole is not None and kind.of_event and event is not None:
        told = _told_with_event(whole, kind.of_event, event)
    elif whole is not None:
        told = whole.faults()
    else:
        told = [(f"columns[{at}].{path}", why) for at, column in columns.items() for path, why in column.faults()]
    found = []
    for path, why in told:
        of_type = f"{path.partition('.')[0]}.type"
        follows = of_type in faulty or any(path.startswith(one) for one in faulty) or plain_at(root, path) in unsure
        if not follows:
            found.append(Fault(line_of(root, path), path, why))
    return found


def _told_with_event(declared: Any, path: str, event: Events) -> list[tuple[str, str]]:
    name = declared
    for field in path.split("."):
        name = None if name is None else getattr(name, field)
    if name is None:
        return list(declared.faults())
    try:
        return list(declared.faults(event(name)))
    except NotFound as error:
        return [*declared.faults(), (path, str(error))]
    except Faults as error:
        return [*declared.faults(), (path, f"{name!r} can't be used: {'; '.join(error.faults)}")]


def _sound_columns(decoder: Decoder) -> dict[int, Column]:
    """Columns by their place, without their faulty fields; one whose name is faulty is left out."""
    return {
        int(path[len("columns[") : -1]): Column(**fields)
        for path, fields in decoder.sound.items()
        if path.startswith("columns[") and "name" in fields
    }


def _sound_part(kind: Kind[D], decoder: Decoder, columns: dict[int, Column]) -> D | None:
    """A faulty declaration without its faulty fields, where those don't decide how the others are to be read."""
    beside = {fault.path for fault in decoder.faults if not fault.path.startswith("columns[")}
    if any(path.split(".")[0].split("[")[0] in {"", *kind.decisive} for path in beside):
        return None
    fields = {field.name: "unnamed" for field in msgspec.structs.fields(kind.struct) if field.required}
    sound = decoder.sound[""]
    if "columns" in fields and "columns" not in sound:
        if not columns or list(columns) != list(range(len(columns))):
            return None
        sound = {**sound, "columns": tuple(columns.values())}
    return kind.struct(**{**fields, **sound})


def _shown(file: str, fault: Fault) -> str:
    place = f"{file}:{fault.line}" if fault.line else file
    if not fault.path:
        return f"{place} {fault.why}"
    return f"{place} {fault.path}: {fault.why}"
