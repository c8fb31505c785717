"""A declaration as a person would write it: YAML with what was guessed, and why, in comments."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import msgspec

from contracts.batch_etl import InferDataset
from contracts.dataset import CsvFormat
from modules.batch_etl.sniff import Sniffed

_PERSONAL = re.compile(r"e_?mail|phone|mobile|(^|_)(first|last|full|sur)_?name|birth|passport|ssn|iban|address|street")
_DATED = re.compile(r"\d{4}-\d{2}-\d{2}|\d{4}/\d{2}/\d{2}|(?<!\d)20\d{6}(?!\d)")
_PACKED = (".gz", ".gzip", ".zst", ".zstd")


class Guess(msgspec.Struct, kw_only=True):
    """A column's declaration, as lines of YAML, and why."""

    settings: dict[str, object]
    notes: list[str] = msgspec.field(default_factory=list)
    unique: bool = False
    complete: bool = False
    """No value was missing."""


def draft(cmd: InferDataset, sniffed: Sniffed, guesses: Sequence[Guess], tokens: Sequence[str], mark: str) -> str:
    """The text of `catalog/datasets/NAME.yaml`."""
    _name(sniffed.columns, guesses)
    path = os.path.basename(cmd.file) if os.path.isabs(cmd.file) else cmd.file
    source = _DATED.sub(lambda found: _placeholder(found[0]), path, count=1)
    stem = _DATED.sub("", os.path.basename(cmd.file)).split(".")[0]
    name = sql_name(cmd.name or re.sub(r"[-_ ]+$", "", stem) or "dataset")
    key = _key(guesses)
    lines = [
        f"# A first draft, from {len(sniffed.rows):,} rows of {cmd.file}.",
        f"# Read it, keep it as catalog/datasets/{name}.yaml, and try it: millrace datasets check {name}",
    ]
    lines += [f"# {doubt}" for doubt in sniffed.doubts]
    lines += [f"name: {name}", f"table: {name}", f"source: {_yaml(source)}"]
    if source != path:
        lines[-1] += f"  # {path} has a day in its name"
    lines += ["format:", f"  type: {sniffed.format}"]
    usual = CsvFormat()
    if sniffed.format == "csv":
        settings = {
            "delimiter": (sniffed.delimiter, usual.delimiter),
            "header": (sniffed.header, usual.header),
            "encoding": (sniffed.encoding, usual.encoding),
            "null_tokens": (list(tokens), list(usual.null_tokens)),
            "decimal_mark": (mark, usual.decimal_mark),
        }
        lines += [f"  {each}: {_yaml(value)}" for each, (value, default) in settings.items() if value != default]
    if sniffed.format != "parquet" and cmd.file.lower().endswith(_PACKED):
        lines.append("# it is decompressed by its ending; `compression:` says otherwise")
    if key:
        lines += [f"key: {_yaml(key)}  # unique in the sample", "mode: upsert"]
    else:
        lines += [
            "# no column is unique in the sample: with a key (of several columns) mode upsert is possible",
            "mode: append",
        ]
    complete = [str(guess.settings["name"]) for guess in guesses if guess.complete]
    if complete and sniffed.format != "parquet":
        lines.append(
            f"# no value was missing in: {', '.join(complete)}; `nullable: false` would reject a row without one"
        )
    lines.append("columns:")
    for guess in guesses:
        lines += [f"  # {note}" for note in guess.notes]
        first, *rest = guess.settings.items()
        lines.append(f"  - {first[0]}: {_yaml(first[1])}")
        lines += [f"    {setting}: {_yaml(value)}" for setting, value in rest if (setting, value) != ("type", "text")]
    return "\n".join(lines) + "\n"


def _name(sources: Sequence[str], guesses: Sequence[Guess]) -> None:
    taken: set[str] = set()
    for source, guess in zip(sources, guesses, strict=True):
        name = sql_name(source)
        while name in taken:
            name = f"{name[:60]}_2" if not re.search(r"_\d$", name) else f"{name[:-1]}{int(name[-1]) + 1}"
        taken.add(name)
        guess.settings = {"name": name, **guess.settings}
        if name == source:
            guess.settings.pop("source")
        if _PERSONAL.search(name):
            guess.settings["personal"] = True
            guess.notes.append("personal by its name: its values are masked in quarantine")


def sql_name(source: str) -> str:
    """Lower case, words joined by underscores, never beginning with a digit."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", source)
    name = re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_") or "column"
    return f"c_{name}"[:63] if name[0].isdigit() else name[:63]


def _key(guesses: Sequence[Guess]) -> list[str]:
    """A column that is unique and called like one; else the first unique one that is no measure."""
    unique = [guess for guess in guesses if guess.unique and guess.settings["type"] in ("int", "text", "uuid")]
    named = [g for g in unique if re.search(r"(^|_)(id|key|no|number|code|uuid)$", str(g.settings["name"]))]
    return [str(guess.settings["name"]) for guess in (named or unique)[:1]]


def _placeholder(found: str) -> str:
    if "/" in found:
        return "{date:%Y/%m/%d}"
    return "{date}" if "-" in found else "{date:%Y%m%d}"


def _yaml(value: object) -> str:
    """A JSON value is YAML too; plain words go without quotes."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*", value):
        return (
            value
            if value.lower() not in ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
            else f'"{value}"'
        )
    return msgspec.json.encode(value).decode()
