"""A file of the caller's own disk, wherever it is: for tools that run in the caller's process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from anyio import to_thread

from contracts.errors import BadInput
from contracts.ports import FileInfo, Files
from modules.batch_etl.source import Streamed


async def located(path: str, files: Files) -> tuple[FileInfo, Streamed]:
    """The file under the files root; where there is none of this path, the one on the disk. Raises `BadInput`."""
    try:
        return await files.stat(path), files
    except IsADirectoryError:
        raise BadInput(f"{path} is a directory: name a file") from None
    except (FileNotFoundError, BadInput):
        found = await to_thread.run_sync(_on_disk, Path(path))
    if found is None:
        raise BadInput(f"there is no file {path!r}, neither under {files.address} nor here") from None
    return found, OnDisk(Path(path))


def _on_disk(place: Path) -> FileInfo | None:
    if not place.is_file():
        return None
    found = place.stat()
    modified_at = datetime.fromtimestamp(found.st_mtime, UTC)
    return FileInfo(path=place.name, size_bytes=found.st_size, modified_at=modified_at, version=str(found.st_mtime_ns))


class OnDisk:
    """One file, whatever it is called."""

    def __init__(self, place: Path) -> None:
        self._place = place

    async def stream(self, path: str, *, chunk_bytes: int = 1 << 20) -> AsyncIterator[bytes]:
        """The content in chunks; `path` is only its name."""
        with self._place.open("rb") as file:
            while chunk := await to_thread.run_sync(file.read, chunk_bytes):
                yield chunk
