"""A file that is being written: unseen until it is whole."""

from __future__ import annotations

import errno
import os
import secrets
from typing import Literal

from adapters.files.paths import PARTIAL_PREFIX

_NO_UNNAMED_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.ENOSYS, errno.EPERM)


class Partial:
    """Content on its way to `name` in an open directory, which it closes at its end. Every method blocks.

    Where the system has files without a name (Linux), a process that is killed leaves nothing behind; elsewhere it
    leaves a file with a name that no list shows. `publish` makes content and name durable.
    """

    def __init__(self, directory: int, name: str) -> None:
        self._directory = directory
        self._name = name
        self._partial: str | None = None
        self._file = self._make()

    def add(self, data: bytes | memoryview) -> None:
        """Append."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def publish(self, mode: Literal["overwrite", "create"]) -> os.stat_result:
        """Give it its name in one step; raises `FileExistsError` with `create` when that is taken."""
        os.fsync(self._file)
        status = os.fstat(self._file)
        if mode == "create":
            self._link(self._name)
        else:
            if self._partial is None:
                partial = _fresh_name()
                self._link(partial)
                self._partial = partial
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


def _fresh_name() -> str:
    return PARTIAL_PREFIX + secrets.token_hex(8)
