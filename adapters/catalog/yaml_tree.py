"""YAML text as a tree that knows its lines, with the surprises of YAML taken out.

Plain values are read by the core schema of YAML 1.2, as editors do: `no`, `on`, `12:30` and `2026-01-01` are text. A
number with a leading zero is a fault, since it may be meant as text. Tags, merge keys, keys given twice, a second
document, and aliases that make a small file large are faults too.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

LARGEST_BYTES = 1 << 20
_MOST_NODES = 100_000
_DEEPEST = 32
_MOST_DIGITS = 40

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+(\.[0-9]*)?")


class Broken(Exception):
    """The text can't be read on from `line` (0: as a whole)."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line
        self.why = why


class Fault(msgspec.Struct, frozen=True, order=True):
    """Something wrong at `line`, with what is at `path`."""

    line: int
    path: str
    why: str


class Node(msgspec.Struct, kw_only=True):
    """A value and where it stands. `text` is what a scalar was written as."""

    kind: Literal["map", "list", "scalar"]
    line: int
    value: Any = None
    items: list[Node] = []
    fields: dict[str, Node] = {}
    text: str = ""
    quoted: bool = False
    size: int = 1

    def plain(self) -> Any:
        """The value without lines."""
        if self.kind == "map":
            return {key: node.plain() for key, node in self.fields.items()}
        return [node.plain() for node in self.items] if self.kind == "list" else self.value

    def shown(self) -> str:
        """What came, in words."""
        if self.kind != "scalar":
            return "a mapping" if self.kind == "map" else "a list"
        if self.value is None:
            return "nothing" if self.text == "" else self.text
        text = self.text if len(self.text) <= 60 else self.text[:60] + "…"
        return repr(text) if isinstance(self.value, str) else text


def text_of(content: bytes) -> str:
    """The text of a file; raises `Broken` when it is too large, empty or not UTF-8."""
    if len(content) > LARGEST_BYTES:
        raise Broken(0, f"has {len(content)} bytes: a declaration has at most {LARGEST_BYTES}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Broken(line, f"byte {content[error.start]:#04x} is not UTF-8: save the file as UTF-8") from None
    if not text.strip():
        raise Broken(0, "is empty")
    return text


def parse(text: str) -> tuple[Node, list[Fault]]:
    """The tree and what is wrong with it as YAML; raises `Broken` at a place beyond which nothing can be told."""
    import yaml

    # Through a name of no fixed type: the typed one knows no loader in C, which a build may lack.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Broken(mark.line + 1 if mark else 0, _in_words(error, text)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Broken(line, f"character {error.character!r} is not allowed in YAML") from None
    if builder.root is None:
        raise Broken(0, "is empty")
    return builder.root, builder.faults


def _in_words(error: Any, text: str) -> str:
    mark = error.problem_mark
    lines = text.splitlines()
    if mark and mark.line < len(lines) and "\t" in lines[mark.line][: mark.column + 1]:
        return "has a tab: YAML is indented with spaces"
    what = ", ".join(part for part in (error.context, error.problem) if part)
    return f"is not YAML: {what}"


class _Builder:
    """Makes nodes of the parser's events, with a stack of its own: depth and size are bounded before they hurt."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self.faults: list[Fault] = []
        self._stack: list[tuple[Node, str]] = []
        self._paths: list[str] = []
        self._key: list[str | None] = []
        self._skipped_key = False
        self._anchors: dict[str, Node] = {}
        self._nodes = 0

    def take(self, event: Any) -> None:
        kind = type(event).__name__
        line = event.start_mark.line + 1
        if kind == "DocumentStartEvent" and self.root is not None:
            raise Broken(line, "a second document begins here: one file declares one thing")
        if kind == "AliasEvent":
            self._alias(event, line)
        elif kind == "ScalarEvent":
            self._scalar(event, line)
        elif kind in ("SequenceStartEvent", "MappingStartEvent"):
            self._begin(event, line, "list" if kind == "SequenceStartEvent" else "map")
        elif kind in ("SequenceEndEvent", "MappingEndEvent"):
            self._end()

    def _alias(self, event: Any, line: int) -> None:
        node = self._anchors.get(event.anchor)
        if node is None or any(node is open_ for open_, _ in self._stack):
            raise Broken(line, f"*{event.anchor} refers to nothing before it, or to what it is part of")
        self._add(node, line)

    def _scalar(self, event: Any, line: int) -> None:
        quoted = not event.implicit[0] and event.style is not None
        self._check_tag(event, line, core=("tag:yaml.org,2002:str",))
        value, why = (event.value, "") if quoted or event.tag else _value(event.value)
        node = Node(kind="scalar", line=line, value=value, text=event.value, quoted=quoted)
        if why and not self._awaits_key():
            self.faults.append(Fault(line, self._path(), why))
        self._anchored(event, node)
        if self._awaits_key():
            self._take_key(node, line)
        else:
            self._add(node, line)

    def _begin(self, event: Any, line: int, kind: Literal["map", "list"]) -> None:
        self._check_tag(event, line, core=())
        if self._awaits_key():
            raise Broken(line, "a mapping or list stands where a key is wanted: are there braces without quotes?")
        if len(self._stack) >= _DEEPEST:
            raise Broken(line, f"is nested more than {_DEEPEST} deep")
        node = Node(kind=kind, line=line)
        self._anchored(event, node)
        self._stack.append((node, self._path()))
        self._key.append(None)

    def _end(self) -> None:
        node, _ = self._stack.pop()
        self._key.pop()
        node.size = 1 + sum(inner.size for inner in (*node.items, *node.fields.values()))
        self._nodes -= node.size - 1  # counted again by `_add`
        self._add(node, node.line)

    def _add(self, node: Node, line: int) -> None:
        self._nodes += node.size
        if self._nodes > _MOST_NODES:
            raise Broken(line, f"has more than {_MOST_NODES} values, those that aliases repeat included")
        if not self._stack:
            self.root = node
            return
        parent, path = self._stack[-1]
        if parent.kind == "list":
            parent.items.append(node)
            return
        key = self._key[-1]
        assert key is not None
        self._key[-1] = None
        if key in parent.fields:
            first = parent.fields[key].line
            self.faults.append(Fault(line, _joined(path, key), f"is there twice, first in line {first}"))
        else:
            parent.fields[key] = node

    def _awaits_key(self) -> bool:
        return bool(self._stack) and self._stack[-1][0].kind == "map" and self._key[-1] is None

    def _take_key(self, node: Node, line: int) -> None:
        if node.text == "<<" and not node.quoted:
            raise Broken(line, "merge keys (<<) are not read: write the fields out")
        self._key[-1] = node.text

    def _path(self) -> str:
        if not self._stack:
            return ""
        parent, path = self._stack[-1]
        return f"{path}[{len(parent.items)}]" if parent.kind == "list" else _joined(path, self._key[-1] or "")

    def _anchored(self, event: Any, node: Node) -> None:
        if event.anchor:
            self._anchors[event.anchor] = node

    def _check_tag(self, event: Any, line: int, *, core: tuple[str, ...]) -> None:
        if event.tag is not None and event.tag not in core:
            raise Broken(line, f"tags ({event.tag}) are not read: write the value plainly")


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _value(text: str) -> tuple[Any, str]:
    """What a plain scalar stands for, and what is wrong with it."""
    if text in _NULL:
        return None, ""
    if text in _BOOL:
        return _BOOL[text], ""
    if _LEADING_ZERO.fullmatch(text):
        return text, f"{text} may be a number or a text: leave the zero out, or put it in quotes"
    if _INT.fullmatch(text) or _BASED.fullmatch(text):
        if len(text) > _MOST_DIGITS:
            return text, f"{text[:20]}… is too long for a number: put it in quotes"
        return int(text, 0 if _BASED.fullmatch(text) else 10), ""
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan")), ""
    return text, ""
