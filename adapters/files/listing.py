"""The files below a directory in order of path, read as they are asked for."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from typing import TypeVar

from adapters.files.beneath import LeadsOut, located
from adapters.files.paths import PARTIAL_PREFIX
from contracts.errors import BadInput

T = TypeVar("T")
Found = tuple[str, os.stat_result]
"""A path and what is there."""


def walk(root: str, directories: list[str], start: str) -> Iterator[Found]:
    """Regular files whose path begins with `directories` and then `start`; blocks while it is advanced.

    A link is what it leads to, unless that is outside of the root or nowhere: then it isn't listed. What disappears
    meanwhile isn't either.
    """
    yield from _below(root, directories, start, above=())


def _below(root: str, directories: list[str], start: str, *, above: tuple[tuple[int, int], ...]) -> Iterator[Found]:
    names, identity = _names(root, directories, start)
    if identity in above:  # a link to one of the directories that we are in
        return
    for name in names:
        parts = [*directories, name.rstrip("/")]
        if name.endswith("/"):
            yield from _below(root, parts, "", above=(*above, identity))
        elif (status := _status(root, parts)) is not None and stat.S_ISREG(status.st_mode):
            yield "/".join(parts), status


def _names(root: str, directories: list[str], start: str) -> tuple[list[str], tuple[int, int]]:
    """Names in order, those of directories with the slash that their paths go on with; and which directory it is."""

    def read(directory: int, name: str) -> tuple[list[str], tuple[int, int]]:
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            identity = os.fstat(inner)
            with os.scandir(inner) as entries:
                found = [_marked(root, directories, entry) for entry in entries if entry.name.startswith(start)]
        finally:
            os.close(inner)
        return sorted(name for name in found if name), (identity.st_dev, identity.st_ino)

    return _looked_up(root, directories, read) or ([], (-1, -1))


def _marked(root: str, directories: list[str], entry: os.DirEntry[str]) -> str:
    if entry.name.startswith(PARTIAL_PREFIX):
        return ""
    if not entry.name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in entry.name):
        shown = os.fsencode("/".join([*directories, entry.name]))
        raise BadInput(f"{shown!r} has a name that is not UTF-8: rename it")
    if entry.is_symlink():
        status = _status(root, [*directories, entry.name])
        directory = status is not None and stat.S_ISDIR(status.st_mode)
    else:
        directory = entry.is_dir(follow_symlinks=False)
    return entry.name + "/" if directory else entry.name


def _status(root: str, parts: list[str]) -> os.stat_result | None:
    return _looked_up(root, parts, lambda directory, name: os.stat(name, dir_fd=directory, follow_symlinks=False))


def _looked_up(root: str, parts: list[str], look: Callable[[int, str], T]) -> T | None:
    try:
        with located(root, parts, path="/".join(parts)) as (directory, name):
            return look(directory, name)
    except (FileNotFoundError, NotADirectoryError, LeadsOut):
        return None
