"""What one version has kept is read by the others: those before it and those after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.contracts_agree import kept
from tests.contracts_agree.kept import FORMS

EACH = pytest.mark.parametrize("name", FORMS)
RENEW = (
    "the version before has to read this, too: fields with a default were added, at the end of an array, and nothing"
    " was taken away? then run `python -m tests.contracts_agree.kept`, which adds it to kept.json, and commit that"
)


def test_nothing_that_was_kept_is_forgotten() -> None:
    assert kept.kept().keys() == FORMS.keys()


@EACH
def test_all_that_versions_have_written_is_read(name: str) -> None:
    for text in kept.kept()[name]:
        assert isinstance(FORMS[name].decoded(text), FORMS[name].type)


@EACH
def test_what_is_written_today_is_kept(name: str) -> None:
    assert kept.kept()[name][-1] == FORMS[name].encoded(), RENEW
    assert FORMS[name].decoded(FORMS[name].encoded()) == FORMS[name].sample


@EACH
def test_what_a_later_version_adds_is_passed_over(name: str) -> None:
    form = FORMS[name]
    plain = form.decoded(form.encoded(), type=Any)
    more = [*plain, "more"] if isinstance(plain, list) else {**plain, "more": 1}
    assert form.decoded(form.again(more)) == form.sample


@EACH
def test_no_part_of_it_refuses_what_it_does_not_know(name: str) -> None:
    closed = [one for one in _structs(msgspec.inspect.type_info(FORMS[name].type)) if _refuses(one)]
    assert closed == [], "a later version may add a field to it"


def _structs(node: Any) -> Iterator[type[msgspec.Struct]]:
    """Of a type, and of all that it is made of."""
    if isinstance(node, msgspec.inspect.StructType):
        yield node.cls
        for field in node.fields:
            yield from _structs(field.type)
    for part in ("types", "item_types"):
        for one in getattr(node, part, ()):
            yield from _structs(one)
    for part in ("item_type", "key_type", "value_type", "type"):
        if isinstance(one := getattr(node, part, None), msgspec.inspect.Type):
            yield from _structs(one)


def _refuses(struct: type[msgspec.Struct]) -> bool:
    return struct.__struct_config__.forbid_unknown_fields
