"""A tree of YAML as a Struct of the contracts: every fault at once, each with its line and path."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union

import msgspec

from adapters.catalog.yaml_tree import Fault, Node

LONGEST_READ = 80
"""A longer pattern is read by nobody."""

_MISSING = object()
_KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "nothing"}


class Decoder:
    """Collects `faults` while it decodes, and in `sound` the sound fields of each mapping, by its path."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.sound: dict[str, dict[str, Any]] = {}

    def decode(self, node: Node, annotation: Any, path: str = "") -> Any:
        """The value, or `None` after adding a fault (so look at `faults` before the value)."""
        taken = self._take(node, annotation, path)
        return None if taken is _MISSING else taken

    def _take(self, node: Node, annotation: Any, path: str) -> Any:
        bare = _bare(annotation)
        structs = [member for member in _members(bare) if _is_struct(member)]
        if structs and not (node.kind == "scalar" and node.value is None and type(None) in _members(bare)):
            return self._one_of(node, structs, path)
        if typing.get_origin(bare) in (tuple, list):
            return self._sequence(node, annotation, bare, path)
        if node.kind != "scalar":
            return self._wrong(node, path, f"is {node.shown()}, expected {_expected(annotation)}")
        return self._scalar(node, annotation, path)

    def _one_of(self, node: Node, structs: Sequence[Any], path: str) -> Any:
        if node.kind != "map":
            fields = ", ".join(field.encode_name for field in msgspec.structs.fields(structs[0]))
            return self._wrong(node, path, f"is {node.shown()}, expected a mapping with {fields}")
        if len(structs) == 1 and structs[0].__struct_config__.tag is None:
            return self._struct(node, structs[0], path, tag_field=None)
        by_tag = {struct.__struct_config__.tag: struct for struct in structs}
        tag_field = structs[0].__struct_config__.tag_field
        tag = node.fields.get(tag_field)
        if tag is None:
            return self._wrong(node, _inner(path, tag_field), f"is missing; allowed is {_listed(by_tag)}")
        struct = by_tag.get(tag.value) if tag.kind == "scalar" else None
        if struct is None:
            return self._wrong(tag, _inner(path, tag_field), _not_one_of(tag, list(by_tag)))
        return self._struct(node, struct, path, tag_field=tag_field)

    def _struct(self, node: Node, struct: Any, path: str, *, tag_field: str | None) -> Any:
        fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
        known = [*fields, *([tag_field] if tag_field else [])]
        values: dict[str, Any] = {}
        whole = True
        for key, inner in node.fields.items():
            if key == tag_field:
                continue
            if key not in fields:
                self._wrong(inner, _inner(path, key), f"is unknown{_nearest(key, known)}")
                whole = False
                continue
            taken = self._take(inner, fields[key].type, _inner(path, key))
            if taken is _MISSING:
                whole = False
            else:
                values[fields[key].name] = taken
        for key, field in fields.items():
            if field.required and key not in node.fields:
                self._wrong(node, _inner(path, key), f"is missing; it is {_expected(field.type)}")
                whole = False
        self.sound[path] = values
        return struct(**values) if whole else _MISSING

    def _sequence(self, node: Node, annotation: Any, bare: Any, path: str) -> Any:
        inner = typing.get_args(bare)[0]
        if node.kind != "list":
            what = _expected(inner)
            return self._wrong(node, path, f"is {node.shown()}, expected a list, each item {what}: put it in [ ]")
        taken = [self._take(item, inner, f"{path}[{at}]") for at, item in enumerate(node.items)]
        if any(item is _MISSING for item in taken):
            return _MISSING
        metas = typing.get_args(annotation)[1:] if typing.get_origin(annotation) is Annotated else ()
        try:
            msgspec.convert([None] * len(taken), Annotated[list[None], *metas] if metas else list[None])
        except msgspec.ValidationError as error:
            return self._wrong(node, path, f"has {len(taken)} items, expected {_plainly(error)}")
        return tuple(taken) if typing.get_origin(bare) is tuple else taken

    def _scalar(self, node: Node, annotation: Any, path: str) -> Any:
        try:
            return msgspec.convert(node.value, annotation, strict=True)
        except msgspec.ValidationError as error:
            options = _options(annotation)
            if options:
                why = _not_one_of(node, options)
            elif _unreadable(annotation) and (described := _described(annotation)):
                why = f"is {node.shown()}, expected {described}"
            elif _is_text(annotation) and not isinstance(node.value, str) and node.text:
                why = f"is read as {_KINDS[type(node.value)]}, expected text: put it in quotes, '{node.text}'"
            elif isinstance(node.value, str) and not _is_text(annotation):
                quoted = ", without quotes" if node.quoted else ""
                why = f"is the text {node.shown()}, expected {_expected(annotation)}{quoted}"
            else:
                described = f", expected {_expected(annotation)}"
                why = f"is {node.shown()}{described} ({_plainly(error)})"
            return self._wrong(node, path, why)

    def _wrong(self, node: Node, path: str, why: str) -> Any:
        self.faults.append(Fault(node.line, path, why))
        return _MISSING


def line_of(root: Node, path: str) -> int:
    """The line of what is at `path`, or of the nearest thing around it that is there."""
    return _at(root, path)[0].line


def plain_at(root: Node, path: str) -> Any:
    """The value of what is at `path`; None when nothing is."""
    node, exact = _at(root, path)
    return node.plain() if exact and node.kind == "scalar" else None


def _at(root: Node, path: str) -> tuple[Node, bool]:
    node = root
    for step in path.replace("[", ".[").split("."):
        inner: Node | None = None
        if step.startswith("[") and node.kind == "list":
            at = int(step.strip("[]"))
            inner = node.items[at] if at < len(node.items) else None
        elif node.kind == "map":
            inner = node.fields.get(step)
        if inner is None:
            return node, False
        node = inner
    return node, True


def _inner(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _bare(annotation: Any) -> Any:
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is Annotated else annotation


def _members(bare: Any) -> tuple[Any, ...]:
    if typing.get_origin(bare) in (Union, types.UnionType):
        return tuple(_bare(member) for member in typing.get_args(bare))
    return (bare,)


def _is_struct(member: Any) -> bool:
    return isinstance(member, type) and issubclass(member, msgspec.Struct)


def _is_text(annotation: Any) -> bool:
    return str in _members(_bare(annotation))


def _options(annotation: Any) -> list[Any]:
    return [
        option
        for member in _members(_bare(annotation))
        if typing.get_origin(member) is Literal
        for option in typing.get_args(member)
    ]


def _expected(annotation: Any) -> str:
    """What is wanted, in words; the description of the contract when it has one."""
    if described := _described(annotation):
        return described
    if options := _options(annotation):
        return f"one of {_listed(options)}"
    bare = _bare(annotation)
    if typing.get_origin(bare) in (tuple, list):
        return "a list"
    members = [member for member in _members(bare) if member is not type(None)]
    return " or ".join("a mapping" if _is_struct(member) else _KINDS.get(member, str(member)) for member in members)


def _described(annotation: Any) -> str:
    """The description of the contract, of a type that may be left out as well."""
    for meta in _metas(annotation):
        if meta.description:
            text = meta.description.rstrip(".")
            return text[0].lower() + text[1:]
    return ""


def _unreadable(annotation: Any) -> bool:
    """Whether a text is held against a pattern that says less to people than a description."""
    return any(meta.pattern and len(meta.pattern) > LONGEST_READ for meta in _metas(annotation))


def _metas(annotation: Any) -> list[msgspec.Meta]:
    if typing.get_origin(annotation) in (Union, types.UnionType):
        inner = [member for member in typing.get_args(annotation) if member is not type(None)]
        return _metas(inner[0]) if len(inner) == 1 else []
    given = typing.get_args(annotation)[1:] if typing.get_origin(annotation) is Annotated else ()
    return [meta for meta in given if isinstance(meta, msgspec.Meta)]


def _not_one_of(node: Node, options: Sequence[Any]) -> str:
    return f"is {node.shown()}; allowed is one of {_listed(options)}{_nearest(node.text, options)}"


def _nearest(text: str, options: Sequence[Any]) -> str:
    near = difflib.get_close_matches(text.lower(), [str(option) for option in options], n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _listed(options: Any) -> str:
    return ", ".join(map(str, options))


def _plainly(error: msgspec.ValidationError) -> str:
    text = str(error).partition(" - at ")[0].replace("`", "").removeprefix("Expected ")
    return text[0].lower() + text[1:]
