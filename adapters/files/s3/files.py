"""Files in a bucket."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from datetime import datetime
from typing import Any

from adapters.files.paths import check_condition, parts_of, parts_of_prefix
from adapters.files.s3.answers import AT_ONCE, MISSING, UNMET, Declined
from adapters.files.s3.bucket import Bucket
from adapters.files.s3.link import Link
from adapters.files.s3.reading import Reading
from adapters.files.s3.writing import Writing, Written
from contracts.errors import Conflict, Transient, Unavailable
from contracts.file_link import check_lifetime
from contracts.ports.clock import Clock
from contracts.ports.files import FileInfo, WriteMode

LISTED_AT_ONCE = 1000
DELETED_AT_ONCE = 1000
"""S3's bounds."""


class S3Files:
    """Implements `Files`. A directory is there as long as a file is in it, so a file and a directory can have one name.

    An upload of parts is aborted when it fails or is cancelled. What a killed process had sent is seen by nobody; it
    is freed by the bucket's own rule for incomplete uploads.
    """

    def __init__(self, bucket: Bucket, *, clock: Clock) -> None:
        self._bucket = bucket
        self._clock = clock
        self._link = Link(bucket, clock)

    @property
    def address(self) -> str:
        return self._bucket.address

    async def open(self) -> None:
        await self._link.open()
        try:
            await self.check()
        except BaseException:
            await self._link.close()
            raise

    async def check(self) -> None:
        """List one file."""
        try:
            await self._link.call("list_objects_v2", Prefix=self._bucket.root, MaxKeys=1)
        except Declined as error:
            raise Unavailable("files", str(error)) from error

    async def close(self) -> None:
        await self._link.close()

    async def stat(self, path: str) -> FileInfo:
        key = self._key(path)
        try:
            head = await self._link.call("head_object", key)
            return _info(path, head, size_bytes=head["ContentLength"])
        except Declined as error:
            raise await self._not_there(path, error) from error

    async def exists(self, path: str) -> bool:
        """False for a directory."""
        try:
            await self._link.call("head_object", self._key(path))
        except Declined as error:
            if error.status in MISSING:
                return False
            raise Unavailable("files", str(error)) from error
        return True

    async def read(self, path: str, *, offset: int = 0, size_bytes: int | None = None) -> bytes:
        if offset < 0 or (size_bytes is not None and size_bytes < 0):
            raise ValueError(f"{path}: offset={offset} and size_bytes={size_bytes} can't be less than 0")
        if size_bytes == 0:  # no range says that
            await self.stat(path)
            return b""
        return b"".join([chunk async for chunk in self._chunks(path, 1 << 20, offset=offset, size_bytes=size_bytes)])

    async def stream(self, path: str, *, chunk_bytes: int = 1 << 20) -> AsyncIterator[bytes]:
        if chunk_bytes < 1:
            raise ValueError(f"{path}: chunk_bytes={chunk_bytes} must be at least 1")
        async for chunk in self._chunks(path, chunk_bytes):
            yield chunk

    async def write(
        self,
        path: str,
        data: bytes | AsyncIterable[bytes],
        *,
        mode: WriteMode = "overwrite",
        if_version: str | None = None,
    ) -> FileInfo:
        check_condition(mode, if_version)
        key = self._key(path)
        conditions = {}
        if mode == "create":
            conditions["IfNoneMatch"] = "*"
        if if_version is not None:
            conditions["IfMatch"] = f'"{if_version}"'
        try:
            written = await Writing(self._link, key, clock=self._clock, conditions=conditions).run(data)
        except Declined as error:
            raise _unmet(path, if_version, error) from error
        return await self._written(path, key, written)

    async def list(self, prefix: str = "") -> AsyncIterator[FileInfo]:
        parts_of_prefix(prefix)
        root = self._bucket.root
        more: dict[str, Any] = {"MaxKeys": LISTED_AT_ONCE}
        while True:
            page = await self._link.call("list_objects_v2", Prefix=root + prefix, **more)
            for entry in page.get("Contents", ()):
                if not entry["Key"].endswith("/"):  # what consoles make for a folder
                    yield _info(entry["Key"].removeprefix(root), entry, size_bytes=entry["Size"])
            if not page.get("IsTruncated"):
                return
            more["ContinuationToken"] = page["NextContinuationToken"]

    async def delete(self, path: str) -> None:
        try:
            await self._link.call("delete_object", self._key(path))
        except Declined as error:
            if error.status not in MISSING:
                raise Transient(str(error)) from error

    async def delete_many(self, paths: Iterable[str]) -> None:
        keys = [self._key(path) for path in paths]
        for begin in range(0, len(keys), DELETED_AT_ONCE):
            some = [{"Key": key} for key in keys[begin : begin + DELETED_AT_ONCE]]
            done = await self._link.call("delete_objects", Delete={"Objects": some, "Quiet": True})
            if failed := done.get("Errors"):
                first = failed[0]
                why = f"{first.get('Key')}: {first.get('Code')} {first.get('Message')}"
                raise Unavailable("files", f"{self.address}: {len(failed)} were not deleted, the first one is {why}")

    async def link(self, path: str, *, expires_s: float) -> str:
        """Signed by the credentials: it ends with them, if they end first."""
        key = self._key(path)
        check_lifetime(expires_s)
        wanted = {"Bucket": self._bucket.name, "Key": key}
        url: str = await self._link.client.generate_presigned_url("get_object", Params=wanted, ExpiresIn=int(expires_s))
        return url

    async def _chunks(
        self, path: str, chunk_bytes: int, *, offset: int = 0, size_bytes: int | None = None
    ) -> AsyncIterator[bytes]:
        reading = Reading(self._link, self._key(path), path=path, offset=offset, size_bytes=size_bytes)
        chunks = reading.chunks(chunk_bytes)
        try:
            async for chunk in chunks:
                yield chunk
        except Declined as error:
            raise await self._not_there(path, error) from error
        finally:
            await chunks.aclose()  # type: ignore[attr-defined]  # it is a generator

    def _key(self, path: str) -> str:
        parts_of(path)
        return self._bucket.root + path

    async def _written(self, path: str, key: str, written: Written) -> FileInfo:
        """As `stat` shows it, or would have before somebody else replaced it at once."""
        try:
            head = await self._link.call("head_object", key, IfMatch=written.etag)
            return _info(path, head, size_bytes=head["ContentLength"])
        except Declined:
            return FileInfo(
                path=path,
                size_bytes=written.size_bytes,
                modified_at=_whole(self._clock.now()),
                version=written.etag.strip('"'),
            )

    async def _not_there(self, path: str, error: Declined) -> Exception:
        if error.status not in MISSING:
            return Unavailable("files", str(error))
        inside = await self._link.call("list_objects_v2", Prefix=f"{self._key(path)}/", MaxKeys=1)
        if inside.get("KeyCount"):
            return IsADirectoryError(errno.EISDIR, "that is a directory, not a file", path)
        return FileNotFoundError(errno.ENOENT, "there is no such file", path)


def _unmet(path: str, if_version: str | None, error: Declined) -> Exception:
    if if_version is not None and error.status in (*UNMET, *MISSING):
        return Conflict(f"{path} is not of version {if_version} any more: read it again, and write anew")
    if if_version is None and error.status in UNMET:
        return FileExistsError(errno.EEXIST, "there is such a file already", path)
    if error.status in (*AT_ONCE, *MISSING):
        return Transient(f"{path} is being written by another one too, or its upload was aborted: {error}")
    return Unavailable("files", str(error))


def _info(path: str, told: dict[str, Any], *, size_bytes: int) -> FileInfo:
    """Of what was told of an object; only its size has different names."""
    return FileInfo(
        path=path,
        size_bytes=size_bytes,
        modified_at=_whole(told["LastModified"]),
        version=told["ETag"].strip('"'),
    )


def _whole(moment: datetime) -> datetime:
    """Lists are finer than heads; one file has one time."""
    return moment.replace(microsecond=0)
