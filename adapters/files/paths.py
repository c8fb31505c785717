"""Which paths there are: those that name the same file on a disk and in a bucket, and nothing outside of its root."""

from __future__ import annotations

from contracts.errors import BadInput
from contracts.ports.files import WriteMode

LONGEST_NAME_BYTES = 255
LONGEST_PATH_BYTES = 1024
"""S3's bound on keys, so that what works on a disk works in a bucket."""
PARTIAL_PREFIX = ".millrace-partial-"
"""Names of files that are being written; nobody else's."""


def parts_of(path: str) -> list[str]:
    """The names that lead from the root to a file; raises `BadInput` for what is no path of a file."""
    _check(path)
    parts = path.split("/")
    if path.endswith("/"):
        raise BadInput(f"{path!r} ends in a slash: that is a directory, give the path of a file")
    _check_parts(path, parts)
    return parts


def parts_of_prefix(prefix: str) -> tuple[list[str], str]:
    """The directories of a prefix, and how the names in the last of them begin."""
    if not prefix:
        return [], ""
    _check(prefix)
    *directories, start = prefix.split("/")
    _check_parts(prefix, [*directories, *([start] if start else [])])
    return directories, start


def check_condition(mode: WriteMode, if_version: str | None) -> None:
    """Raises `ValueError` for a condition of a write that there can't be."""
    if mode not in ("overwrite", "create"):
        raise ValueError(f"mode={mode!r} must be overwrite or create")
    if mode == "create" and if_version is not None:
        raise ValueError("mode='create' makes a file and if_version replaces one: give one of them")


def _check(path: str) -> None:
    if not path:
        raise BadInput("an empty path was given: give one that is relative to the files root, such as data/a.csv")
    if path.startswith("/"):
        raise BadInput(f"{path!r} is absolute: paths are relative to the files root, without a slash in front")
    if "\0" in path:
        raise BadInput(f"{path!r} has a NUL byte in it")
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise BadInput(f"{path!r} can't be written in UTF-8") from None
    if size > LONGEST_PATH_BYTES:
        raise BadInput(f"{path[:80]!r}… has {size} bytes: a path has at most {LONGEST_PATH_BYTES}")


def _check_parts(path: str, parts: list[str]) -> None:
    for part in parts:
        if part == "..":
            raise BadInput(f"{path!r} leads out of where it begins: paths have no .. in them")
        if part in ("", "."):
            straight = "/".join(one for one in parts if one not in ("", "."))
            raise BadInput(f"{path!r} has an empty name or a single dot in it: write it as {straight!r}")
        if len(part.encode()) > LONGEST_NAME_BYTES:
            raise BadInput(f"{path[:80]!r}… has a name of more than {LONGEST_NAME_BYTES} bytes in it")
        if part.startswith(PARTIAL_PREFIX):
            raise BadInput(f"{path!r}: names that begin with {PARTIAL_PREFIX} are those of unfinished files")
