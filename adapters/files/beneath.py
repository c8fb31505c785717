"""A way from the root to a file that never leaves the root, whatever is changed in between.

Every directory on the way is opened from the one before it, without following links; a link is read and walked in
the same manner. So a directory that is exchanged for a link while it is walked leads nowhere.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from contracts.errors import BadInput, Unavailable

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MOST_LINKS = 40


class LeadsOut(BadInput):
    """A link on the way leads out of the root, or in a circle."""


@contextmanager
def located(
    root: str, parts: Sequence[str], *, path: str, make: bool = False, follow: bool = True
) -> Iterator[tuple[int, str]]:
    """The open directory that holds the last name, and that name ("." when it is the directory itself).

    With `make` the directories that are missing are made. With `follow` a link as the last name is followed, so the
    name is no link. Raises `FileNotFoundError`, `NotADirectoryError`, and `LeadsOut`.
    """
    walk = _Walk(root, path)
    try:
        name = walk.to(list(parts), make=make, follow=follow)
        yield walk.directory, name
    finally:
        walk.close()


def opened_root(root: str) -> int:
    """The root as an open directory; raises `Unavailable`."""
    try:
        return os.open(root, _DIRECTORY)
    except OSError as error:
        raise Unavailable("files", f"{root}: {error.strerror}") from error


class _Walk:
    def __init__(self, root: str, path: str) -> None:
        self._root = root
        self._path = path
        self._open = [opened_root(root)]
        self._links = 0

    @property
    def directory(self) -> int:
        return self._open[-1]

    def close(self) -> None:
        while self._open:
            os.close(self._open.pop())

    def to(self, names: list[str], *, make: bool, follow: bool) -> str:
        ahead = names[::-1]
        while ahead:
            name = ahead.pop()
            if name in ("", "."):  # of a link
                continue
            if name == "..":  # of a link
                self._up()
            elif ahead:
                self._down(name, ahead, make=make)
            elif follow and (target := self._link(name)) is not None:
                self._follow(target, ahead)
            else:
                return name
        return "."

    def _up(self) -> None:
        if len(self._open) == 1:
            raise self._leads_out()
        os.close(self._open.pop())

    def _down(self, name: str, ahead: list[str], *, make: bool) -> None:
        try:
            self._open.append(os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=self.directory))
        except FileNotFoundError:
            if not make:
                raise
            try:
                os.mkdir(name, dir_fd=self.directory)
            except FileExistsError:
                pass  # another writer was faster
            else:
                os.fsync(self.directory)
            self._open.append(os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=self.directory))
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR) or (target := self._link(name)) is None:
                raise
            self._follow(target, ahead)

    def _link(self, name: str) -> str | None:
        try:
            return os.readlink(name, dir_fd=self.directory)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):  # no link; nothing there
                return None
            raise

    def _follow(self, target: str, ahead: list[str]) -> None:
        self._links += 1
        if self._links > _MOST_LINKS:
            raise LeadsOut(f"{self._path!r} goes through more than {_MOST_LINKS} links: do they lead in a circle?")
        if target.startswith("/"):
            target = self._within_root(target)
            while len(self._open) > 1:
                os.close(self._open.pop())
        ahead.extend(reversed(target.split("/")))

    def _within_root(self, target: str) -> str:
        for root in (self._root, os.path.realpath(self._root)):
            if target == root or target.startswith(root.rstrip("/") + "/"):
                return target[len(root.rstrip("/")) + 1 :]
        raise self._leads_out()

    def _leads_out(self) -> LeadsOut:
        return LeadsOut(f"{self._path!r} goes through a link that leads out of the files root: put the file inside")
