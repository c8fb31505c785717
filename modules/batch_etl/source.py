"""A file as blocks of plain bytes: fetched, fingerprinted, decompressed and turned into UTF-8, in bounded memory."""

from __future__ import annotations

import codecs
import hashlib
import os
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from contracts.dataset import Dataset, ParquetFormat
from contracts.errors import BadInput
from contracts.ports import FileInfo
from modules.batch_etl import lake
from modules.batch_etl.threads import each_in_thread, in_thread

if TYPE_CHECKING:
    import tempfile

BLOCK_BYTES = 4 << 20


class Fingerprint:
    """The content of a file as 32 hex digits, taken while it is read."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self.size_bytes = 0

    def update(self, block: bytes) -> None:
        self._hash.update(block)
        self.size_bytes += len(block)

    def salt(self, text: str) -> None:
        """Something else than content that the file is told by."""
        self._hash.update(text.encode())

    @property
    def value(self) -> str:
        return self._hash.hexdigest()


class Streamed(Protocol):
    """As much of the Files port as reading from front to back needs."""

    def stream(self, path: str, *, chunk_bytes: int = 1 << 20) -> AsyncIterator[bytes]: ...


class Stage(Protocol):
    """Bytes to bytes, block by block. An output block is not much larger than `BLOCK_BYTES`."""

    def feed(self, block: bytes) -> Iterator[bytes]: ...

    def finish(self) -> Iterator[bytes]: ...


def begun(info: FileInfo) -> Fingerprint:
    """That of a file, before anything of it is read. In a lake two files with equal content are two, each with events
    of its own; anywhere else they are the same file twice."""
    taken = Fingerprint()
    if info.version.startswith(lake.VERSION):
        taken.salt(info.path)
    return taken


async def fingerprint(files: Streamed, info: FileInfo) -> str:
    """Reads the whole file for nothing but its fingerprint."""
    taken = begun(info)
    async for block in files.stream(info.path, chunk_bytes=BLOCK_BYTES):
        await in_thread(taken.update, block)
    return taken.value


def compression_of(dataset: Dataset, path: str) -> str:
    """`none`, `gzip` or `zstd`, as declared or by the file's ending."""
    if isinstance(dataset.format, ParquetFormat):
        return "none"
    if dataset.compression != "auto":
        return dataset.compression
    endings = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
    return endings.get(os.path.splitext(path.lower())[1], "none")


def stages(dataset: Dataset, path: str) -> list[Stage]:
    """What stands between the bytes of the file and its reader. Zstandard is not among them: see `spool`."""
    made: list[Stage] = []
    if compression_of(dataset, path) == "gzip":
        made.append(Gunzip(path))
    encoding = getattr(dataset.format, "encoding", "utf-8")
    if codecs.lookup(encoding).name not in ("utf-8", "ascii"):
        made.append(Transcode(path, encoding))
    return made


class Gunzip:
    """Gzip, of one member or several; zeros behind the last one are padding."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.taken = 0
        self.members = 0
        self._inflate = zlib.decompressobj(wbits=31)
        self._open = False

    def feed(self, block: bytes) -> Iterator[bytes]:
        self.taken += len(block)
        while block:
            if not self._open:
                block = block.lstrip(b"\0") if self.members else block
                if not block:
                    return
                self._inflate = zlib.decompressobj(wbits=31)
                self._open = True
            try:
                out = self._inflate.decompress(block, BLOCK_BYTES)
            except zlib.error as error:
                place = self.taken - len(block)
                raise BadInput(f"{self.path}, near byte {place}: not valid gzip ({error})") from None
            if out:
                yield out
            block = self._inflate.unconsumed_tail
            if self._inflate.eof:
                block = self._inflate.unused_data
                self._open = False
                self.members += 1

    def finish(self) -> Iterator[bytes]:
        if self._open:
            if out := self._inflate.flush():
                yield out
            self._open = not self._inflate.eof
        if self._open or not self.taken:
            raise BadInput(f"{self.path}, byte {self.taken}: the gzip stream is truncated, its end is missing")


class Transcode:
    """Another encoding to UTF-8. What an 8-bit encoding has no character for comes out as the byte that it was, which
    is not UTF-8, so that its row is rejected with the reason; in other encodings it ends the file."""

    def __init__(self, path: str, encoding: str) -> None:
        self.path = path
        self.encoding = encoding
        self.taken = 0
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="surrogateescape")

    def feed(self, block: bytes) -> Iterator[bytes]:
        yield self._decoded(block, final=False)
        self.taken += len(block)

    def finish(self) -> Iterator[bytes]:
        yield self._decoded(b"", final=True)

    def _decoded(self, block: bytes, *, final: bool) -> bytes:
        try:
            return self._decoder.decode(block, final).encode("utf-8", "surrogateescape")
        except UnicodeError as error:
            place = self.taken + getattr(error, "start", 0)
            raise BadInput(f"{self.path}, near byte {place}: not valid {self.encoding} ({error})") from None


async def blocks(
    files: Streamed, info: FileInfo, dataset: Dataset, taken: Fingerprint, *, scratch: str | None
) -> AsyncGenerator[bytes]:
    """The plain blocks of a file; `taken` has its fingerprint when they are through."""
    if compression_of(dataset, info.path) == "zstd":
        async for block in _unzstd(files, info, dataset, taken, scratch=scratch):
            yield block
        return
    passed = Chain(stages(dataset, info.path), taken)
    async for block in files.stream(info.path, chunk_bytes=BLOCK_BYTES):
        async for out in each_in_thread(passed.feed(block)):
            yield out
    async for out in each_in_thread(passed.finish()):
        yield out


class Chain:
    """Stages one after the other, behind the fingerprint."""

    def __init__(self, stages: list[Stage], taken: Fingerprint | None = None) -> None:
        self.stages = stages
        self.taken = taken

    def feed(self, block: bytes) -> Iterator[bytes]:
        if self.taken is not None:
            self.taken.update(block)
        yield from self._through(0, iter((block,)))

    def finish(self) -> Iterator[bytes]:
        for at, stage in enumerate(self.stages):
            yield from self._through(at + 1, stage.finish())

    def _through(self, first: int, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for stage in self.stages[first:]:
            blocks = _passed(stage, blocks)
        return blocks


def _passed(stage: Stage, blocks: Iterator[bytes]) -> Iterator[bytes]:
    for block in blocks:
        yield from stage.feed(block)


async def spool(files: Streamed, path: str, taken: Fingerprint, into: tempfile._TemporaryFileWrapper[bytes]) -> None:
    """The whole file on the local disk, for formats that are not read from front to back."""

    def keep(block: bytes) -> None:
        taken.update(block)
        into.write(block)

    async for block in files.stream(path, chunk_bytes=BLOCK_BYTES):
        await in_thread(keep, block)
    await in_thread(into.flush)


async def _unzstd(
    files: Streamed, info: FileInfo, dataset: Dataset, taken: Fingerprint, *, scratch: str | None
) -> AsyncIterator[bytes]:
    """Zstandard by way of a local copy: the decompressor pulls, the port pushes."""
    import tempfile

    import pyarrow as pa

    passed = Chain(stages(dataset, info.path))
    with tempfile.NamedTemporaryFile(dir=scratch, suffix=".zst") as local:
        await spool(files, info.path, taken, local)
        done = 0

        def read(source: Any) -> bytes:
            try:
                return bytes(source.read(BLOCK_BYTES))
            except OSError as error:
                place = f"after byte {done} of its content"
                raise BadInput(f"{info.path}, {place}: not valid or truncated zstd ({error})") from None

        with pa.OSFile(local.name, "rb") as raw, pa.CompressedInputStream(raw, "zstd") as source:
            while block := await in_thread(read, source):
                done += len(block)
                async for out in each_in_thread(passed.feed(block)):
                    yield out
        async for out in each_in_thread(passed.finish()):
            yield out
