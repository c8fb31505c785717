"""SQL in files: each statement stands below a line `-- name: its_name`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)\n", flags=re.MULTILINE)


def named(file: str) -> Mapping[str, str]:
    """The statements of a .sql file beside this module, by name."""
    _, *parts = _NAME.split(Path(__file__).with_name(file).read_text(encoding="utf-8"))
    return dict(zip(parts[::2], (sql.strip() for sql in parts[1::2]), strict=True))
