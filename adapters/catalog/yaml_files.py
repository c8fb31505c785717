"""The catalog as a directory of YAML files: a folder per kind, a file per declaration."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from adapters.catalog.decode import Decoder, line_of, plain_at
from adapters.catalog.yaml_tree import LARGEST_BYTES, Broken, Fault, Node, parse, text_of
from contracts.dataset import Column, Dataset
from contracts.errors import Faults, NotFound

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_ENDING = ".yaml"
_DECISIVE = frozenset({"", "source", "columns", "format", "compression", "key", "duplicates", "mode", "partition_by"})
"""Fields of a dataset that others are checked against."""


class YamlCatalog:
    """Implements `Catalog` on `directory`; a file is read each time that it is asked for."""

    def __init__(self, directory: Path | str) -> None:
        self._directory = Path(directory)

    def datasets(self) -> list[str]:
        """The names of the files, whether or not they can be read; empty without the folder."""
        try:
            names = os.listdir(self._directory / "datasets")
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name.removesuffix(_ENDING) for name in names if name.endswith(_ENDING) and name[0] != ".")

    def dataset(self, name: str) -> Dataset:
        """Read and checked whole."""
        content = self._content("datasets", name)
        return decode_dataset(content, file=f"datasets/{name}{_ENDING}", name=name)

    def _content(self, kind: str, name: str) -> bytes:
        path = self._directory / kind / f"{name}{_ENDING}"
        # The name is matched before the path is used: nothing outside of the folder is ever opened.
        if not _NAME.fullmatch(name):
            raise self._not_found(kind, name)
        try:
            with path.open("rb") as file:
                return file.read(LARGEST_BYTES + 1)
        except FileNotFoundError:
            raise self._not_found(kind, name) from None
        except OSError as error:
            raise Faults(f"dataset {name}", [f"{kind}/{name}{_ENDING} can't be read: {error.strerror}"]) from error

    def _not_found(self, kind: str, name: str) -> NotFound:
        known = self.datasets()
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        if (self._directory / kind / f"{name}.yml").exists() and _NAME.fullmatch(name):
            hint = f"rename {name}.yml to {name}{_ENDING}"
        elif near:
            hint = f"did you mean {' or '.join(near)}?"
        elif known:
            hint = f"there are: {', '.join(known[:20])}{', …' if len(known) > 20 else ''}"
        else:
            hint = f"there is no {kind}/*{_ENDING} in {self._directory}"
        return NotFound(f"there is no dataset {name!r} in the catalog; {hint}")


def decode_dataset(content: bytes, *, file: str, name: str | None = None) -> Dataset:
    """The dataset that `content` declares; raises `Faults` with everything that is wrong, by line of `file`.

    With `name`, the declared one must be that.
    """
    subject = f"dataset {name or file}"
    try:
        root, faults = parse(text_of(content))
    except Broken as broken:
        raise Faults(subject, [_shown(file, Fault(broken.line, "", broken.why))]) from None
    decoder = Decoder()
    dataset: Dataset | None = decoder.decode(root, Dataset)
    faults += decoder.faults
    faults += _contradictions(root, dataset, decoder, faults)
    declared = root.fields.get("name") if root.kind == "map" else None
    if name is not None and declared is not None and declared.value != name:
        faults.append(Fault(declared.line, "name", f"is {declared.shown()}: it must be the file's, {name}"))
    if faults:
        raise Faults(subject, [_shown(file, fault) for fault in sorted(set(faults))])
    assert dataset is not None
    return dataset


def _contradictions(root: Node, dataset: Dataset | None, decoder: Decoder, known: list[Fault]) -> list[Fault]:
    """What a type can't say, but for what only follows from a fault that is known."""
    faulty = {fault.path for fault in known if fault.path}
    columns = _sound_columns(decoder)
    unsure = {
        column.name for at, column in columns.items() if any(path.startswith(f"columns[{at}]") for path in faulty)
    }
    whole = dataset or _sound_part(decoder, columns)
    if whole is not None:
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


def _sound_columns(decoder: Decoder) -> dict[int, Column]:
    """Columns by their place, without their faulty fields; one whose name is faulty is left out."""
    return {
        int(path[len("columns[") : -1]): Column(**fields)
        for path, fields in decoder.sound.items()
        if path.startswith("columns[") and "name" in fields
    }


def _sound_part(decoder: Decoder, columns: dict[int, Column]) -> Dataset | None:
    """A faulty declaration without its faulty fields, where those don't decide how the others are to be read."""
    beside = {fault.path for fault in decoder.faults if not fault.path.startswith("columns[")}
    if any(path.split(".")[0].split("[")[0] in _DECISIVE for path in beside):
        return None
    if not columns or list(columns) != list(range(len(columns))):
        return None
    fields = {"name": "unnamed", "table": "unnamed"} | decoder.sound[""]
    return Dataset(**{**fields, "columns": tuple(columns.values())})


def _shown(file: str, fault: Fault) -> str:
    place = f"{file}:{fault.line}" if fault.line else file
    if not fault.path:
        return f"{place} {fault.why}"
    return f"{place} {fault.path}: {fault.why}"
