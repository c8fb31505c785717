"""What a contract marks as personal, and messages without it.

A field is personal when its Meta says so: `email: Annotated[str, Meta(extra={"personal": True})]`; so are the items of
a collection that are marked, and everything within what is marked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import inspect

from contracts.redaction import HIDDEN

MARK = "personal"
_SHORTEST = 3
"""Below this a text is found everywhere: it tells nothing, and hiding it would spoil what is read."""
_SHOWN = 77
"""What an error quotes of a value may end here."""


@lru_cache(maxsize=256)
def fields_of(contract: type[msgspec.Struct]) -> tuple[str, ...]:
    """The paths of its personal fields, such as `customer.email` or `lines[].note`. A type that contains itself is
    looked at once."""
    return tuple(dict.fromkeys(_paths(inspect.type_info(contract), "", ())))


def masked(contract: type[msgspec.Struct], body: bytes) -> bytes:
    """The JSON of a message with `***` for each personal value; a null stays. Fields that the contract doesn't know are
    hidden, too, and a body that it doesn't fit is nothing but `***`. One without personal fields is left as it is."""
    if not fields_of(contract):
        return body
    try:
        msgspec.json.decode(body, type=contract)
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return HIDDEN.encode()
    return msgspec.json.encode(_Walk().masked(value, inspect.type_info(contract)))


def scrubbed(contract: type[msgspec.Struct], body: bytes, text: str) -> str:
    """What was said of a message, an error or a key say, with `***` for each of its personal values. Values are found
    by their text, so this is less certain than `masked`."""
    if not text or not fields_of(contract):
        return text
    walk = _Walk()
    try:
        walk.masked(msgspec.json.decode(body), inspect.type_info(contract))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return text  # not JSON: no value of it was ever read
    words = {form for value in walk.found for form in _forms(value) if len(form) >= _SHORTEST}
    if not words:
        return text
    longest_first = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    return re.sub(rf"(?<!\w)(?:{longest_first})(?!\w)", HIDDEN, text)


class _Walk:
    """One value along its type; `found` are the personal values, inner ones each by itself."""

    def __init__(self) -> None:
        self.found: list[Any] = []

    def masked(self, value: Any, type_: inspect.Type) -> Any:
        match type_:
            case inspect.Metadata():
                return self._hidden(value) if _is_personal(type_) else self.masked(value, type_.type)
            case inspect.UnionType():
                return self._one_of(value, type_)
            case inspect.StructType(array_like=True) | inspect.NamedTupleType():
                return self._in_order(value, [field.type for field in type_.fields])
            case inspect.StructType() | inspect.DataclassType() | inspect.TypedDictType():
                return self._fields(value, type_)
            case inspect.DictType():
                return self._entries(value, type_)
            case inspect.TupleType():
                return self._in_order(value, type_.item_types)
            case inspect.CollectionType():
                items = value if isinstance(value, list) else []
                return [self.masked(item, type_.item_type) for item in items] if isinstance(value, list) else value
        return value

    def _hidden(self, value: Any) -> Any:
        self.found += _leaves(value)
        return value if value is None else HIDDEN

    def _one_of(self, value: Any, union: inspect.UnionType) -> Any:
        """JSON tells apart all that a union may have, but for what is marked: that hides whatever could be it."""
        if value is None:
            return None
        possible = [one for one in union.types if _could_be(value, one)]
        for one in possible:
            if isinstance(one, inspect.Metadata) and _is_personal(one):
                return self._hidden(value)
        return self.masked(value, possible[0]) if possible else value

    def _fields(self, value: Any, type_: inspect.StructType | inspect.DataclassType | inspect.TypedDictType) -> Any:
        if not isinstance(value, Mapping):
            return value
        known = {field.encode_name: field.type for field in type_.fields}
        tag = getattr(type_, "tag_field", None)
        return {
            name: self.masked(inner, known[name]) if name in known else inner if name == tag else self._hidden(inner)
            for name, inner in value.items()
        }

    def _entries(self, value: Any, type_: inspect.DictType) -> Any:
        if not isinstance(value, Mapping):
            return value
        if isinstance(type_.key_type, inspect.Metadata) and _is_personal(type_.key_type):
            self.found += value
            return self._hidden(value)
        return {name: self.masked(inner, type_.value_type) for name, inner in value.items()}

    def _in_order(self, value: Any, types: Any) -> Any:
        if not isinstance(value, list):
            return value
        known = [self.masked(inner, type_) for inner, type_ in zip(value, types, strict=False)]
        return known + [self._hidden(inner) for inner in value[len(known) :]]


def _could_be(value: Any, type_: inspect.Type) -> bool:
    """Whether JSON that looks so can be of this type."""
    bare = type_
    while isinstance(bare, inspect.Metadata):
        bare = bare.type
    match bare:
        case inspect.NoneType():
            return value is None
        case inspect.StructType(array_like=True):
            tagged = bare.tag is None or (isinstance(value, list) and value[:1] == [bare.tag])
            return isinstance(value, list) and tagged
        case inspect.StructType():
            return isinstance(value, Mapping) and (bare.tag is None or value.get(bare.tag_field) == bare.tag)
        case inspect.DataclassType() | inspect.TypedDictType() | inspect.DictType():
            return isinstance(value, Mapping)
        case inspect.NamedTupleType() | inspect.TupleType() | inspect.CollectionType():
            return isinstance(value, list)
    # Enums, literals, dates and numbers are told apart by no more than being single values.
    return not isinstance(value, list | Mapping) or isinstance(bare, inspect.AnyType | inspect.RawType)


def _paths(type_: inspect.Type, path: str, inside: tuple[Any, ...]) -> Iterator[str]:
    match type_:
        case inspect.Metadata():
            if _is_personal(type_):
                yield path
            else:
                yield from _paths(type_.type, path, inside)
        case inspect.UnionType():
            for one in type_.types:
                yield from _paths(one, path, inside)
        case inspect.StructType() | inspect.DataclassType() | inspect.TypedDictType() | inspect.NamedTupleType():
            if type_.cls not in inside:
                for field in type_.fields:
                    name = getattr(field, "encode_name", "")
                    yield from _paths(field.type, f"{path}.{name}" if path else name, (*inside, type_.cls))
        case inspect.DictType():
            yield from _paths(type_.key_type, f"{path}{{}}", inside)
            yield from _paths(type_.value_type, f"{path}{{}}", inside)
        case inspect.TupleType():
            for one in type_.item_types:
                yield from _paths(one, f"{path}[]", inside)
        case inspect.CollectionType():
            yield from _paths(type_.item_type, f"{path}[]", inside)


def _is_personal(type_: inspect.Metadata) -> bool:
    return bool((type_.extra or {}).get(MARK))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif value is not None and not isinstance(value, bool):
        yield value


def _forms(value: Any) -> Iterator[str]:
    """As errors write a value: as text, quoted by Python or JSON, and cut."""
    yield str(value)
    if isinstance(value, str):
        quoted = (repr(value), msgspec.json.encode(value).decode())
        yield from (form[1:-1] for form in quoted)
        yield from (form[1:_SHOWN] for form in quoted if len(form) > _SHOWN)
