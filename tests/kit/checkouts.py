"""Checkouts of the repository beside this one, and what makes one of them a later version."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def checkout(root: Path) -> Path:
    """A copy of what is committed, or would be, without the history."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    return root


def bump(root: Path, version: str) -> None:
    """As if this checkout were installed, in this version, where it stands first on the path."""
    about = root / f"millrace-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: millrace\nVersion: {version}\n")


def add_module(root: Path, name: str, text: str) -> None:
    (root / "modules" / name).mkdir()
    (root / "modules" / name / "__init__.py").write_text(text)


def add_migration(root: Path, stem: str, *, up: str, down: str) -> None:
    """`stem` is all of the name before `.up.sql`."""
    versions = root / "migrations" / "versions"
    (versions / f"{stem}.up.sql").write_text(up)
    (versions / f"{stem}.down.sql").write_text(down)
