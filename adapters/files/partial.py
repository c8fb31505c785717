"""A file that is being written: unseen until it is whole."""

from __future__ import annotations

import errno
import os
import secrets

from adapters.files.paths import PARTIAL_PREFIX
from adapters.files.turns import turn
from contracts.errors import Conflict
from contracts.ports.files import WriteMode

_NO_UNNAMED_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.ENOSYS, errno.EPERM)


class Partial:
    """Content on its way to `name` in an open directory, which it closes at its end; errors call it `path`. Every
    method blocks.

    Where the system has files without a name (Linux), a process that is killed leaves nothing behind; elsewhere it
    leaves a file with a name that no list shows. `publish` makes content and name durable.
    """

    def __init__(self, directory: int, name: str, *, path: str) -> None:
        self._directory = directory
        self._name = name
        self._path = path
        self._partial: str | None = None
        self._file = self._make()

    def add(self, data: bytes | memoryview) -> None:
        """Append."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def publish(self, mode: WriteMode, if_version: str | None = None) -> os.stat_result:
        """Give it its name in one step; raises `FileExistsError` with `create` when that is taken, `Conflict` with
        `if_version` when what has it is not that version."""
        os.fsync(self._file)
        status = os.fstat(self._file)
        if mode == "create":
            self._link(self._name)
        else:
            if self._partial is None:
                partial = _fresh_name()
                self._link(partial)
                self._partial = partial
            # In turn with everybody, so that what is compared is what is replaced.
            with turn(self._directory, needed=if_version is not None):
                if if_version is not None:
                    self._compare(if_version)
                os.replace(self._partial, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
            self._partial = None
        os.fsync(self._directory)
        self.close()
        return status

    def close(self) -> None:
        """Forget what is not published; idempotent."""
        if self._file < 0:
            return
        try:
            if self._partial is not None:
                os.unlink(self._partial, dir_fd=self._directory)
        finally:
            os.close(self._file)
            os.close(self._directory)
            self._file = -1

    def _compare(self, if_version: str) -> None:
        try:
            status = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            raise changed(self._path, if_version, "it is not there") from None
        if (version := version_of(status)) != if_version:
            raise changed(self._path, if_version, f"it is {version} now")

    def _make(self) -> int:
        unnamed: int = getattr(os, "O_TMPFILE", 0)
        if unnamed and os.path.isdir("/proc/self/fd"):
            try:
                return os.open(".", unnamed | os.O_WRONLY | os.O_CLOEXEC, 0o666, dir_fd=self._directory)
            except OSError as error:
                if error.errno not in _NO_UNNAMED_FILES:
                    raise
        partial = _fresh_name()
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(partial, flags, 0o666, dir_fd=self._directory)
        self._partial = partial
        return file

    def _link(self, name: str) -> None:
        if self._partial is None:
            os.link(f"/proc/self/fd/{self._file}", name, dst_dir_fd=self._directory, follow_symlinks=True)
        else:
            both = {"src_dir_fd": self._directory, "dst_dir_fd": self._directory}
            os.link(self._partial, name, **both, follow_symlinks=False)


def version_of(status: os.stat_result) -> str:
    """Another one whenever the content is another one."""
    return f"{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:x}"


def changed(path: str, if_version: str, why: str) -> Conflict:
    """The refusal to replace another version than the one that was named."""
    return Conflict(f"{path} is not of version {if_version} any more, {why}: read it again, and write anew")


def _fresh_name() -> str:
    return PARTIAL_PREFIX + secrets.token_hex(8)
