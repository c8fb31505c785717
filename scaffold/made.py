"""The files of a new module, out of their templates."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from string import Template

TEMPLATES = Path(__file__).parent / "templates"
KINDS = ("job", "stream")
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LONGEST = 40


class Refused(Exception):
    """What kept a module from being made; nothing was written."""


def files_of(name: str, kind: str) -> dict[Path, str]:
    """By path from the root of the repository; NAME and DASHED in a template's path are the module's name. Raises
    `Refused`."""
    if not _NAME.fullmatch(name) or len(name) > _LONGEST or keyword.iskeyword(name):
        raise Refused(
            f"{name!r} can't be a module's name: use words of lower case letters and digits that are joined by _, "
            f"starting with a letter and {_LONGEST} characters long at most, such as count_lines"
        )
    dashed = name.replace("_", "-")
    words = {
        "name": name,
        "dashed": dashed,
        "Name": "".join(word.capitalize() for word in name.split("_")),
        "Title": name.replace("_", " ").capitalize(),
    }
    made = {}
    for root in (TEMPLATES / kind, TEMPLATES / "both"):
        for template in sorted(root.rglob("*.txt")):
            place = str(template.relative_to(root)).removesuffix(".txt")
            made[Path(place.replace("NAME", name).replace("DASHED", dashed))] = Template(
                template.read_text()
            ).substitute(words)
    return made


def write(root: Path, name: str, kind: str) -> list[Path]:
    """Make all of them, or none; returns where they are. Raises `Refused`."""
    files = files_of(name, kind)
    if taken := [str(place) for place in files if (root / place).exists()]:
        raise Refused(f"there is a {', '.join(taken)} already: choose another name, or delete it first")
    for place, text in files.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(text)
    return list(files)
