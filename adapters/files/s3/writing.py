"""Content as one put, or as parts that become an object in one step."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any

import msgspec

from adapters.files.s3.answers import MISSING, UNMET, Declined
from adapters.files.s3.link import Link
from contracts.errors import BadInput, Transient, Unavailable
from contracts.ports.clock import Clock

PART_BYTES = 8 << 20
"""More than S3's least (5 MiB); content that fits is one put."""
PARTS_OF_A_SIZE = 1000
LARGEST_PART_BYTES = 32 << 20
MOST_PARTS = 10_000
"""S3's bound. With parts that grow an object can have 270 GiB."""
ON_THE_WAY_BYTES = 32 << 20
"""What is being sent of one object at a time."""
ABORT_TIMEOUT_S = 5.0
ABORTS = 3
PUTS = 4
"""Attempts at a put that meets another one with a condition."""
WRITE_MARK = "millrace-write"
"""Metadata that tells our own write from another one, when its answer was lost."""


def part_bytes(number: int) -> int:
    """The size of a part, which are counted from 1."""
    return int(min(LARGEST_PART_BYTES, PART_BYTES << ((number - 1) // PARTS_OF_A_SIZE)))


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    etag: str
    size_bytes: int


class Writing:
    """Of one object. `conditions` are S3's (`IfNoneMatch`, `IfMatch`); `Declined` is raised when they are not met."""

    def __init__(self, link: Link, key: str, *, clock: Clock, conditions: Mapping[str, Any]) -> None:
        self._link = link
        self._key = key
        self._clock = clock
        self._conditions = conditions
        self._mark = clock.new_id()
        self._sent_bytes = 0
        bucket = link.bucket
        self._made_with: dict[str, Any] = {"Metadata": {WRITE_MARK: self._mark}}
        if bucket.encryption is not None:
            self._made_with["ServerSideEncryption"] = bucket.encryption
        if bucket.kms_key is not None:
            self._made_with["SSEKMSKeyId"] = bucket.kms_key

    async def run(self, data: bytes | AsyncIterable[bytes]) -> Written:
        """Raises what `data` raises, too."""
        parts = self._counted(_parts(data))
        first = await anext(parts, b"")
        second = await anext(parts, None)
        try:
            etag = await (self._put(first) if second is None else self._put_parts(first, second, parts))
        except (Declined, Unavailable) as error:
            # It may be our own write that an attempt met again, or whose answer was lost.
            if (found := await self._already(error)) is None:
                raise
            etag = found
        return Written(etag=etag, size_bytes=self._sent_bytes)

    async def _counted(self, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for part in parts:
            self._sent_bytes += len(part)
            yield part

    async def _put(self, body: bytes) -> str:
        for attempt in range(1, PUTS + 1):
            try:
                answer = await self._link.call(
                    "put_object", self._key, Body=body, **self._conditions, **self._made_with
                )
                return str(answer["ETag"])
            except Declined as error:
                if error.code != "ConditionalRequestConflict" or attempt == PUTS:
                    raise
            await self._clock.sleep(attempt * 0.1 * (1 + self._clock.random()))
        raise AssertionError("the last attempt returns or raises")

    async def _put_parts(self, first: bytes, second: bytes, rest: AsyncIterator[bytes]) -> str:
        await self._check_in_time()
        upload: str = (await self._link.call("create_multipart_upload", self._key, **self._made_with))["UploadId"]
        try:
            etags = await self._send(upload, _chained(first, second, rest))
            parts = [{"PartNumber": number, "ETag": etags[number]} for number in sorted(etags)]
            done = await self._link.call(
                "complete_multipart_upload",
                self._key,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
                **self._conditions,
            )
            return str(done["ETag"])
        except BaseException:
            await self._abort(upload)
            raise

    async def _check_in_time(self) -> None:
        """What can't be created is better said before all of it is sent; what happens later is met at the end."""
        if "IfNoneMatch" not in self._conditions:
            return
        try:
            await self._link.call("head_object", self._key)
        except Declined as error:
            if error.status in MISSING:
                return
            raise
        raise Declined(UNMET[0], "PreconditionFailed", f"{self._key} is taken")

    async def _send(self, upload: str, parts: AsyncIterator[bytes]) -> dict[int, str]:
        """The ETag of each part. When one fails, none is still on its way afterwards."""
        etags: dict[int, str] = {}
        room = asyncio.Semaphore(ON_THE_WAY_BYTES // PART_BYTES)

        async def send(number: int, part: bytes, weight: int) -> None:
            try:
                answer = await self._link.call("upload_part", self._key, UploadId=upload, PartNumber=number, Body=part)
                etags[number] = answer["ETag"]
            finally:
                for _ in range(weight):
                    room.release()

        try:
            async with asyncio.TaskGroup() as sending:
                number = 0
                async for part in parts:
                    number += 1
                    if number > MOST_PARTS:
                        raise BadInput(f"{self._key} is larger than an object of {MOST_PARTS} parts can be: split it")
                    weight = -(-len(part) // PART_BYTES)
                    for _ in range(weight):
                        await room.acquire()
                    sending.create_task(send(number, part, weight))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return etags

    async def _abort(self, upload: str) -> None:
        """Free what was sent. A part that was on its way may come after the first abort, so it is looked for."""
        with contextlib.suppress(Declined, Transient):
            for _ in range(ABORTS):
                for operation in ("abort_multipart_upload", "list_parts"):
                    await self._link.call(operation, self._key, UploadId=upload, within_s=ABORT_TIMEOUT_S)

    async def _already(self, error: Exception) -> str | None:
        if isinstance(error, Declined) and error.status in MISSING and error.code != "NoSuchUpload":
            return None
        with contextlib.suppress(Declined, Unavailable):
            found = await self._link.call("head_object", self._key, within_s=ABORT_TIMEOUT_S)
            if found.get("Metadata", {}).get(WRITE_MARK) == self._mark:
                return str(found["ETag"])
        return None


async def _chained(first: bytes, second: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    yield second
    async for part in rest:
        yield part


async def _parts(data: bytes | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The content in pieces of the sizes that parts have; the last one may be smaller."""
    number = 1
    if isinstance(data, bytes | bytearray | memoryview):
        view, at = memoryview(data).cast("B"), 0
        while at < len(view):
            yield bytes(view[at : at + part_bytes(number)])
            at, number = at + part_bytes(number), number + 1
        return
    held = bytearray()
    async for piece in data:
        held += piece
        while len(held) >= (size := part_bytes(number)):
            yield bytes(memoryview(held)[:size])
            del held[:size]
            number += 1
    if held:
        yield bytes(held)
