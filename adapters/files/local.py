"""Files on a disk, beneath one directory."""

from __future__ import annotations

import errno
import functools
import os
import stat
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from adapters.files import listing
from adapters.files.beneath import located, opened_root
from adapters.files.partial import Partial, changed, version_of
from adapters.files.paths import check_condition, parts_of, parts_of_prefix
from adapters.files.turns import turn
from adapters.threads import Threads, result
from contracts.errors import BadInput, Faults, Transient, Unavailable
from contracts.file_link import FileLinks
from contracts.ports.files import FileInfo, WriteMode

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe without a writer must not hold us up
_AT_ONCE_BYTES = 1 << 20
_LISTED_AT_ONCE = 256
_DELETED_AT_ONCE = 256
_OUT_OF_ORDER = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.ENODEV, errno.ENOTCONN)


class LocalFiles:
    """Implements `Files` beneath `root`, which `open` makes. Blocking calls run in a few threads of its own.

    A stream reads one chunk ahead. A file that another program changes in place while it is read raises `Transient`
    instead of giving a mixture. What replaces and deletes in one directory takes turns by a lock on it, so that
    `if_version` holds between processes too, as long as all of them go through here. `links` makes links.
    """

    def __init__(self, root: Path | str, *, links: FileLinks | None = None) -> None:
        self._root = os.path.abspath(root)
        self._links = links
        self._threads = Threads(name="files")

    @property
    def address(self) -> str:
        return f"file://{self._root}"

    async def open(self) -> None:
        def make() -> None:
            try:
                os.makedirs(self._root, exist_ok=True)
            except OSError as error:
                raise Unavailable("files", f"{self._root} can't be made: {error.strerror}") from error

        await self._threads.run(make)
        await self.check()

    async def check(self) -> None:
        """Look into the root."""

        def look() -> None:
            root = opened_root(self._root)
            try:
                with os.scandir(root) as entries:
                    next(entries, None)
            except OSError as error:
                raise Unavailable("files", f"{self._root}: {error.strerror}") from error
            finally:
                os.close(root)

        await self._threads.run(look)

    async def close(self) -> None:
        self._threads.close()

    async def stat(self, path: str) -> FileInfo:
        return await self._threads.run(lambda: _info(path, self._status(path)))

    async def exists(self, path: str) -> bool:
        """False for a directory."""
        try:
            await self.stat(path)
        except (FileNotFoundError, IsADirectoryError):
            return False
        return True

    async def read(self, path: str, *, offset: int = 0, size_bytes: int | None = None) -> bytes:
        if offset < 0 or (size_bytes is not None and size_bytes < 0):
            raise ValueError(f"{path}: offset={offset} and size_bytes={size_bytes} can't be less than 0")

        def read() -> bytes:
            file, before = self._opened(path)
            try:
                left = max(0, before.st_size - offset)
                left = left if size_bytes is None else min(left, size_bytes)
                pieces, at = [], offset
                while left > 0 and (piece := os.pread(file, min(left, 1 << 26), at)):
                    pieces.append(piece)
                    at, left = at + len(piece), left - len(piece)
                _check_unchanged(file, before, path)
            finally:
                os.close(file)
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)

        return await self._threads.run(read)

    async def stream(self, path: str, *, chunk_bytes: int = 1 << 20) -> AsyncIterator[bytes]:
        if chunk_bytes < 1:
            raise ValueError(f"{path}: chunk_bytes={chunk_bytes} must be at least 1")
        file, before = await self._threads.run(lambda: self._opened(path), undo=lambda opened: os.close(opened[0]))

        def read(at: int) -> Callable[[], bytes]:
            def one() -> bytes:
                with _named(path):
                    chunk = os.pread(file, chunk_bytes, at)
                if not chunk:
                    _check_unchanged(file, before, path)
                return chunk

            return one

        at = 0
        ahead = self._threads.submit(read(at))
        try:
            while chunk := await result(ahead):
                at += len(chunk)
                ahead = self._threads.submit(read(at))
                yield chunk
        finally:
            ahead.add_done_callback(lambda _: os.close(file))

    async def write(
        self,
        path: str,
        data: bytes | AsyncIterable[bytes],
        *,
        mode: WriteMode = "overwrite",
        if_version: str | None = None,
    ) -> FileInfo:
        check_condition(mode, if_version)
        partial = await self._threads.run(lambda: self._begun(path, mode, if_version), undo=Partial.close)
        step = None
        try:
            async for piece in _pieces(data):
                step = self._threads.submit(_acting(path, functools.partial(partial.add, piece)))
                await result(step)
            step = self._threads.submit(_acting(path, lambda: partial.publish(mode, if_version)))
            return _info(path, await result(step))
        finally:
            # A step that was cancelled may still run: what it works on is closed behind it.
            if step is None:
                partial.close()
            else:
                step.add_done_callback(lambda _: partial.close())

    async def list(self, prefix: str = "") -> AsyncIterator[FileInfo]:
        found = listing.walk(self._root, *parts_of_prefix(prefix))
        ahead = self._threads.submit(lambda: list(islice(found, _LISTED_AT_ONCE)))
        try:
            while some := await result(ahead):
                ahead = self._threads.submit(lambda: list(islice(found, _LISTED_AT_ONCE)))
                for path, status in some:
                    yield _info(path, status)
        finally:
            ahead.add_done_callback(lambda _: _close(found))

    async def delete(self, path: str) -> None:
        """Of a link only the link is removed."""
        await self.delete_many([path])

    async def delete_many(self, paths: Iterable[str]) -> None:
        """Of links only the links are removed."""
        located_at = [(path, parts_of(path)) for path in paths]

        def delete(some: Iterable[tuple[str, Sequence[str]]]) -> None:
            for path, parts in some:
                self._delete(path, parts)

        for begin in range(0, len(located_at), _DELETED_AT_ONCE):
            some = located_at[begin : begin + _DELETED_AT_ONCE]
            await self._threads.run(functools.partial(delete, some))

    async def link(self, path: str, *, expires_s: float) -> str:
        """Raises `Faults` without a key to sign with."""
        parts_of(path)
        if self._links is None:
            raise Faults(
                "files",
                ["links to local files are signed, and there is no key: set FS_LOCAL_LINK_KEY"],
            )
        return await self._links.make(path, expires_s=expires_s)

    def _status(self, path: str) -> os.stat_result:
        parts = parts_of(path)
        with _named(path), located(self._root, parts, path=path) as (directory, name):
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        _check_regular(status, path)
        return status

    def _opened(self, path: str) -> tuple[int, os.stat_result]:
        parts = parts_of(path)
        with _named(path), located(self._root, parts, path=path) as (directory, name):
            file = os.open(name, _READ, dir_fd=directory)
        try:
            status = os.fstat(file)
            _check_regular(status, path)
        except BaseException:
            os.close(file)
            raise
        return file, status

    def _begun(self, path: str, mode: WriteMode, if_version: str | None) -> Partial:
        parts = parts_of(path)
        make = if_version is None
        try:
            with _named(path, writing=True), located(self._root, parts, path=path, make=make) as (directory, name):
                try:
                    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                except FileNotFoundError:
                    if if_version is not None:
                        raise
                else:
                    if mode == "create":
                        raise FileExistsError(errno.EEXIST, "there is such a file already", path)
                    _check_regular(status, path)
                    if if_version not in (None, version := version_of(status)):
                        raise changed(path, str(if_version), f"it is {version} now")
                return _partial(os.dup(directory), name, path)
        except FileNotFoundError:
            if if_version is None:
                raise
            raise changed(path, if_version, "it is not there") from None

    def _delete(self, path: str, parts: Sequence[str]) -> None:
        try:
            with _named(path), located(self._root, parts, path=path, follow=False) as (directory, name):
                if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                    raise _is_directory(path)
                with turn(directory):
                    os.unlink(name, dir_fd=directory)
                os.fsync(directory)
        except FileNotFoundError:
            return


def _partial(directory: int, name: str, path: str) -> Partial:
    try:
        return Partial(directory, name, path=path)
    except BaseException:
        os.close(directory)
        raise


async def _pieces(data: bytes | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Pieces that are worth a change of thread."""
    if isinstance(data, bytes | bytearray | memoryview):
        yield bytes(data)
        return
    held: list[bytes] = []
    size = 0
    async for piece in data:
        held.append(piece)
        size += len(piece)
        if size >= _AT_ONCE_BYTES:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join(held)


def _acting(path: str, act: Callable[[], Any]) -> Callable[[], Any]:
    def acting() -> Any:
        with _named(path, writing=True):
            return act()

    return acting


def _close(found: Iterator[listing.Found]) -> None:
    found.close()  # type: ignore[attr-defined]  # it is a generator


@contextmanager
def _named(path: str, *, writing: bool = False) -> Iterator[None]:
    """What the system says, in terms of the caller's path."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise FileNotFoundError(errno.ENOENT, "there is no such file", path) from None
        if error.errno == errno.ENOTDIR:
            if writing:
                raise BadInput(f"{path!r} goes through a file as if it were a directory") from None
            raise FileNotFoundError(errno.ENOENT, "there is no such file", path) from None
        if error.errno == errno.ENXIO:
            raise _is_no_file(path) from None
        if error.errno == errno.EEXIST:
            raise FileExistsError(errno.EEXIST, "there is such a file already", path) from None
        if error.errno == errno.ENAMETOOLONG:
            raise BadInput(f"{path!r} has a name that is too long for this disk") from None
        if error.errno in _OUT_OF_ORDER:
            raise Unavailable("files", f"{path}: {error.strerror}") from error
        raise type(error)(error.errno, error.strerror, path) from error


def _check_regular(status: os.stat_result, path: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise _is_directory(path)
    if not stat.S_ISREG(status.st_mode):
        raise _is_no_file(path)


def _is_no_file(path: str) -> BadInput:
    return BadInput(f"{path!r} is a pipe, a socket or a device: give a file")


def _is_directory(path: str) -> IsADirectoryError:
    return IsADirectoryError(errno.EISDIR, "that is a directory, not a file", path)


def _check_unchanged(file: int, before: os.stat_result, path: str) -> None:
    if version_of(os.fstat(file)) != version_of(before):
        raise Transient(f"{path} was changed in place while it was read: write files aside and rename them")


def _info(path: str, status: os.stat_result) -> FileInfo:
    return FileInfo(
        path=path,
        size_bytes=status.st_size,
        modified_at=datetime.fromtimestamp(status.st_mtime, UTC),
        version=version_of(status),
    )
