"""An object from some place on, one version to its end, taken up again where the connection broke."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from adapters.files.s3.answers import MISSING, PAST_THE_END, UNMET, Declined, translated
from adapters.files.s3.link import Link
from contracts.errors import Transient, Unavailable


class Reading:
    """Of one object. Memory: one chunk, and what the socket has."""

    def __init__(self, link: Link, key: str, *, path: str, offset: int = 0, size_bytes: int | None = None) -> None:
        self._link = link
        self._key = key
        self._path = path
        self._at = offset
        self._end = None if size_bytes is None else offset + size_bytes
        self._version: str | None = None
        self._body: Any = None
        self._broken = 0

    async def chunks(self, chunk_bytes: int) -> AsyncIterator[bytes]:
        """Raises `Declined` when there is nothing of that name, `Transient` when it was replaced on the way."""
        await self._open()
        try:
            while chunk := await self._next(chunk_bytes):
                yield chunk
        finally:
            self._close()

    async def _next(self, chunk_bytes: int) -> bytes:
        """A full chunk, but for the last one; empty at the end."""
        pieces: list[bytes] = []
        missing = chunk_bytes
        while missing:
            if self._body is None:
                await self._open()
            try:
                piece = await self._body.read(missing) if self._body is not None else b""
            except Exception as error:  # noqa: BLE001 - judged there, and raised when it is no broken connection
                self._close()
                self._count(error)
                continue
            if not piece:
                break
            self._at += len(piece)
            self._broken = 0
            pieces.append(piece)
            missing -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _open(self) -> None:
        """From where we are; no body when that is the end."""
        wanted: dict[str, Any] = {} if self._version is None else {"IfMatch": self._version}
        if self._at or self._end is not None:
            wanted["Range"] = f"bytes={self._at}-{'' if self._end is None else self._end - 1}"
        try:
            answer = await self._link.call("get_object", self._key, **wanted)
        except Declined as error:
            if error.status in PAST_THE_END:
                return
            if self._version is not None and error.status in (*UNMET, *MISSING):
                raise Transient(f"{self._path} was replaced while it was read: read it again") from error
            raise
        self._version = answer["ETag"]
        self._body = answer["Body"]

    def _count(self, error: Exception) -> None:
        """Raises when it is no broken connection, or the cap is reached: what comes in between counts anew."""
        known = translated(error, "get_object", self._link.bucket, self._key)
        self._broken += 1
        if not isinstance(known, Unavailable) or self._broken >= self._link.bucket.attempts:
            raise known from (None if known is error else error)

    def _close(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()
