"""Files by path, on a disk or in a bucket."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from contracts.ports.health import Checked

WriteMode = Literal["overwrite", "create"]

LONGEST_LINK_S = 7 * 24 * 3600
"""How long a link can be good for; S3's own bound."""


class FileInfo(msgspec.Struct, frozen=True, kw_only=True):
    """`version` changes whenever the content does (an ETag; for a disk: size, mtime in ns and inode)."""

    path: str
    size_bytes: int
    modified_at: datetime
    version: str


class Files(Checked, Protocol):
    """Paths are relative to the root, with `/`; one that leads out of the root (`..`, absolute, a link) raises
    `BadInput`. A missing file raises `FileNotFoundError`, a directory `IsADirectoryError`, each naming the path.
    Memory is bounded whatever the size of a file. What does not answer in time raises `Unavailable`."""

    async def stat(self, path: str) -> FileInfo: ...

    async def exists(self, path: str) -> bool: ...

    async def read(self, path: str, *, offset: int = 0, size_bytes: int | None = None) -> bytes:
        """The whole file or a range of it; a range past the end is cut short, without an error."""
        ...

    def stream(self, path: str, *, chunk_bytes: int = 1 << 20) -> AsyncIterator[bytes]:
        """The content from its start, in chunks of at most `chunk_bytes`; one version from first to last, or
        `Transient` when that one can't be had to its end."""
        ...

    async def write(
        self,
        path: str,
        data: bytes | AsyncIterable[bytes],
        *,
        mode: WriteMode = "overwrite",
        if_version: str | None = None,
    ) -> FileInfo:
        """Atomic and durable: a reader sees the old content or the new, never a part; what fails or is cancelled leaves
        nothing behind. `create` raises `FileExistsError` when the path is taken, `if_version` raises `Conflict` unless
        the file is there and of that version (each checked and done in one step)."""
        ...

    def list(self, prefix: str = "") -> AsyncIterator[FileInfo]:
        """Every file whose path starts with `prefix`, in order of path; directories are not files."""
        ...

    async def delete(self, path: str) -> None:
        """Idempotent: a missing file is fine."""
        ...

    async def delete_many(self, paths: Iterable[str]) -> None:
        """The same for many, in as few round trips as can be; all of them are paths, or `BadInput` and none is
        deleted. What fails on the way leaves some deleted: ask again."""
        ...

    async def link(self, path: str, *, expires_s: float) -> str:
        """A URL with which anybody can read that path over HTTP for so long (1 s to 7 days, else `ValueError`), without
        any other right. Whether the file is there shows when it is opened. Raises `Faults` where links can't be made,
        saying what to set."""
        ...
