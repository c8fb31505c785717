"""Files by path, on a disk or in a bucket."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from contracts.ports.health import Checked

WriteMode = Literal["overwrite", "create"]


class FileInfo(msgspec.Struct, frozen=True, kw_only=True):
    """`version` changes whenever the content does (an ETag; for a disk: size, mtime in ns and inode)."""

    path: str
    size_bytes: int
    modified_at: datetime
    version: str


class Files(Checked, Protocol):
    """Paths are relative to the root, with `/`; one that leads out of the root (`..`, absolute, a link) raises
    `BadInput`. A missing file raises `FileNotFoundError`, a directory `IsADirectoryError`, each naming the path."""

    async def stat(self, path: str) -> FileInfo: ...

    async def exists(self, path: str) -> bool: ...

    async def read(self, path: str, *, offset: int = 0, size_bytes: int | None = None) -> bytes:
        """The whole file or a range of it; a range past the end is cut short, without an error."""
        ...

    def stream(self, path: str, *, chunk_bytes: int = 1 << 20) -> AsyncIterator[bytes]:
        """The content from its start, in chunks of at most `chunk_bytes`; one version from first to last."""
        ...

    async def write(self, path: str, data: bytes | AsyncIterable[bytes], *, mode: WriteMode = "overwrite") -> FileInfo:
        """Atomic and durable: a reader sees the old content or the new, never a part. `create` raises
        `FileExistsError` when the path is taken (checked and made in one step)."""
        ...

    def list(self, prefix: str = "") -> AsyncIterator[FileInfo]:
        """Every file whose path starts with `prefix`, in order of path; directories are not files."""
        ...

    async def delete(self, path: str) -> None:
        """Idempotent: a missing file is fine."""
        ...
