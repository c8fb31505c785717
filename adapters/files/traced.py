"""Every use of files as a span of whoever uses them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

from contracts.ports.files import FileInfo, Files, WriteMode
from contracts.ports.traces import Traces

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

T = TypeVar("T")
About = dict[str, str | int | float | bool]


class TracedFiles:
    """Implements `Files` by others of the kind `kind`. A stream and a list are one span each, from the first that is
    asked of them to the last; who stops earlier has seen enough, and that is no failure. What is not read from or
    written to the store (`link`, and what the process does for its health) has no span."""

    def __init__(self, files: Files, traces: Traces, *, kind: str) -> None:
        self._files = files
        self._traces = traces
        self._kind = kind

    @property
    def address(self) -> str:
        return self._files.address

    async def open(self) -> None:
        await self._files.open()

    async def check(self) -> None:
        await self._files.check()

    async def close(self) -> None:
        await self._files.close()

    async def stat(self, path: str) -> FileInfo:
        with self._span("stat", path):
            return await self._files.stat(path)

    async def exists(self, path: str) -> bool:
        with self._span("exists", path):
            return await self._files.exists(path)

    async def read(self, path: str, *, offset: int = 0, size_bytes: int | None = None) -> bytes:
        with self._span("read", path) as about:
            data = await self._files.read(path, offset=offset, size_bytes=size_bytes)
            about["millrace.files.bytes"] = len(data)
            return data

    async def stream(self, path: str, *, chunk_bytes: int = 1 << 20) -> AsyncIterator[bytes]:
        with self._span("stream", path) as about:
            passed_bytes = 0
            try:
                async with aclosing(_generator(self._files.stream(path, chunk_bytes=chunk_bytes))) as chunks:
                    async for chunk in chunks:
                        passed_bytes += len(chunk)
                        yield chunk
            finally:
                about["millrace.files.bytes"] = passed_bytes

    async def write(
        self,
        path: str,
        data: bytes | AsyncIterable[bytes],
        *,
        mode: WriteMode = "overwrite",
        if_version: str | None = None,
    ) -> FileInfo:
        with self._span("write", path) as about:
            info = await self._files.write(path, data, mode=mode, if_version=if_version)
            about["millrace.files.bytes"] = info.size_bytes
            return info

    async def list(self, prefix: str = "") -> AsyncIterator[FileInfo]:
        with self._span("list", prefix) as about:
            seen = 0
            try:
                async with aclosing(_generator(self._files.list(prefix))) as found:
                    async for info in found:
                        seen += 1
                        yield info
            finally:
                about["millrace.files.count"] = seen

    async def delete(self, path: str) -> None:
        with self._span("delete", path):
            await self._files.delete(path)

    async def delete_many(self, paths: Iterable[str]) -> None:
        wanted = tuple(paths)
        with self._span("delete", "") as about:
            about["millrace.files.count"] = len(wanted)
            await self._files.delete_many(wanted)

    async def link(self, path: str, *, expires_s: float) -> str:
        return await self._files.link(path, expires_s=expires_s)

    @contextmanager
    def _span(self, operation: str, path: str) -> Iterator[About]:
        """What is known in the end is put into the yielded attributes."""
        about: About = {"millrace.files": self._kind, "file.path": path}
        began_at, error = time.perf_counter(), ""
        try:
            yield about
        except GeneratorExit:
            raise
        except BaseException as raised:
            error = type(raised).__name__
            raise
        finally:
            took_s = time.perf_counter() - began_at
            self._traces.ended(f"files {operation}", kind="client", took_s=took_s, about=about, error=error)


def _generator(asked: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """As every implementation of the port makes it: what is left early is closed at once, not when it is collected."""
    return cast("AsyncGenerator[T, None]", asked)
