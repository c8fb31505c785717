"""What every Files promises."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from contracts.errors import BadInput, Conflict, Faults
from contracts.ports.files import LONGEST_LINK_S, Files

Fetch = Callable[[str], Awaitable[tuple[int, bytes]]]
"""What a stranger gets with a URL: the status and the content."""


async def exercise_files(files: Files, fetch: Fetch | None = None) -> None:
    """Run every promise of the port against opened, empty `files`; without `fetch` they can make no links."""
    await _writes_and_reads(files)
    await _reads_ranges(files)
    await _streams(files)
    await _lists_in_order(files)
    await _deletes(files)
    await _says_what_is_missing(files)
    await _refuses_paths(files)
    await _creates_once(files)
    await _writes_whole_or_not_at_all(files)
    await _changes_its_version(files)
    await _replaces_the_version_that_it_is_told(files)
    await _writes_what_is_large(files)
    await _deletes_many(files)
    await _links(files, fetch)
    await files.check()
    assert files.address


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    """Content that comes bit by bit."""
    for part in parts:
        yield part


async def names(files: Files, prefix: str = "") -> list[str]:
    """The paths that are listed."""
    return [info.path async for info in files.list(prefix)]


async def _empty(files: Files) -> None:
    await files.delete_many(await names(files))


async def _writes_and_reads(files: Files) -> None:
    for path, data, stored in (
        ("a.csv", b"x,y\n1,2\n", b"x,y\n1,2\n"),
        ("deep/er/still/b.csv", b"", b""),
        ("spaces and ünïcode/名 前.txt", b"ok", b"ok"),
        ("streamed.bin", pieces(b"one", b"", b"two"), b"onetwo"),
        ("nothing.bin", pieces(), b""),
        ("back\\slash?*[1].txt", b"odd", b"odd"),
    ):
        written = await files.write(path, data)
        assert await files.read(path) == stored
        assert written == await files.stat(path)
        assert (written.path, written.size_bytes) == (path, len(stored))
        assert written.modified_at.utcoffset() is not None
        assert written.version
        assert await files.exists(path)
    await files.write("a.csv", b"other")
    assert await files.read("a.csv") == b"other"
    await _empty(files)


async def _reads_ranges(files: Files) -> None:
    await files.write("r", b"0123456789")
    for offset, size_bytes, expected in (
        (0, None, b"0123456789"),
        (3, None, b"3456789"),
        (3, 4, b"3456"),
        (8, 100, b"89"),
        (10, None, b""),
        (99, 5, b""),
        (2, 0, b""),
    ):
        assert await files.read("r", offset=offset, size_bytes=size_bytes) == expected
    for wrong in ({"offset": -1}, {"size_bytes": -1}):
        with pytest.raises(ValueError, match="can't be less than 0"):
            await files.read("r", **wrong)
    await _empty(files)


async def _streams(files: Files) -> None:
    content = bytes(range(256)) * 5000
    await files.write("s", content)
    for chunk_bytes in (1000, 1 << 16, len(content), len(content) + 1):
        chunks = [chunk async for chunk in files.stream("s", chunk_bytes=chunk_bytes)]
        assert b"".join(chunks) == content
        assert all(0 < len(chunk) <= chunk_bytes for chunk in chunks)
    await files.write("empty", b"")
    assert [chunk async for chunk in files.stream("empty")] == []
    stream = files.stream("s", chunk_bytes=1000)
    seen = [await anext(stream)]
    await files.write("s", b"replaced" * 1000)
    seen += [chunk async for chunk in stream]
    assert b"".join(seen) == content, "a stream gives one version from first to last"
    await _empty(files)


async def _lists_in_order(files: Files) -> None:
    paths = ["a/b/c", "a/b-c", "a/b.c", "a/bc", "a/b/", "ab", "b", "é", "z/1", "z/10", "z/2", "日"]
    paths = sorted(path for path in paths if not path.endswith("/"))
    for path in reversed(paths):
        await files.write(path, path.encode())
    assert await names(files) == paths
    assert [info.size_bytes async for info in files.list()] == [len(path.encode()) for path in paths]
    for prefix in ("a", "a/", "a/b", "a/b/", "a/b/c", "z/1", "nowhere", "nowhere/at/all", "a/b/c/d", "b/"):
        assert await names(files, prefix) == [path for path in paths if path.startswith(prefix)], prefix
    listing = files.list()
    assert (await anext(listing)).path == paths[0]
    await listing.aclose()  # type: ignore[attr-defined]
    await _empty(files)
    assert await names(files) == []


async def _deletes(files: Files) -> None:
    await files.write("d/e", b"x")
    await files.delete("d/e")
    assert not await files.exists("d/e")
    await files.delete("d/e")
    await files.delete("never/was")
    await _empty(files)


async def _says_what_is_missing(files: Files) -> None:
    await files.write("there/is", b"x")
    for path in ("missing", "there/missing", "there/is/below"):
        assert not await files.exists(path)
        with pytest.raises(FileNotFoundError) as caught:
            await files.stat(path)
        assert caught.value.filename == path
        with pytest.raises(FileNotFoundError, match=r"missing|below"):
            await files.read(path)
        with pytest.raises(FileNotFoundError, match=r"missing|below"):
            await anext(files.stream(path))
    assert not await files.exists("there")
    for act in (files.stat("there"), files.read("there"), anext(files.stream("there"))):
        with pytest.raises(IsADirectoryError) as directory:
            await act
        assert directory.value.filename == "there"
    await _empty(files)


async def _refuses_paths(files: Files) -> None:
    wrong = ["", "/etc/passwd", "../up", "a/../b", "a/..", "..", ".", "./a", "a//b", "a/", "a/./b", "nul\0byte"]
    wrong += ["x" * 256, "/".join(["long"] * 300), "lone\ud800surrogate", "é" * 200]
    for path in wrong:
        for act in (files.stat(path), files.exists(path), files.read(path), files.write(path, b""), files.delete(path)):
            with pytest.raises(BadInput):
                await act
        with pytest.raises(BadInput):
            await anext(files.stream(path))
    for prefix in ("/", "../", "a/../", "..", "a//b", "nul\0byte", "./"):
        with pytest.raises(BadInput):
            await names(files, prefix)
    assert await names(files) == []


async def _creates_once(files: Files) -> None:
    await files.write("c/once", b"first", mode="create")
    with pytest.raises(FileExistsError) as caught:
        await files.write("c/once", b"second", mode="create")
    assert caught.value.filename == "c/once"
    assert await files.read("c/once") == b"first"

    async def attempt(number: int) -> int:
        try:
            await files.write("c/raced", pieces(b"%d" % number, b"!"), mode="create")
        except FileExistsError:
            return -1
        return number

    winners = [number for number in await asyncio.gather(*map(attempt, range(10))) if number >= 0]
    assert len(winners) == 1
    assert await files.read("c/raced") == b"%d!" % winners[0]
    await _empty(files)


async def _writes_whole_or_not_at_all(files: Files) -> None:
    await files.write("w", b"old")
    begun = asyncio.Event()

    async def breaks() -> AsyncIterator[bytes]:
        yield b"new" * 1_000_000
        raise RuntimeError("the source broke")

    async def hangs() -> AsyncIterator[bytes]:
        yield b"new" * 1_000_000
        begun.set()
        await asyncio.Event().wait()

    for path in ("w", "fresh"):
        with pytest.raises(RuntimeError, match="the source broke"):
            await files.write(path, breaks())
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(files.write(path, hangs()))
            await begun.wait()
            assert await names(files) == ["w"], "what is not finished is not listed"
            writer.cancel()
        begun.clear()
    assert await files.read("w") == b"old"
    assert await names(files) == ["w"]
    await _empty(files)


async def _changes_its_version(files: Files) -> None:
    first = await files.write("v", b"aaa")
    assert (await files.stat("v")).version == first.version
    second = await files.write("v", b"bbb")
    assert second.version != first.version
    assert (await files.stat("v")).version == second.version
    await _empty(files)


async def _replaces_the_version_that_it_is_told(files: Files) -> None:
    first = await files.write("k/v", b"first")
    second = await files.write("k/v", b"second", if_version=first.version)
    assert await files.stat("k/v") == second
    for content in (b"third", pieces(b"th", b"ird")):
        with pytest.raises(Conflict, match=r"k/v is not of version .*read it again"):
            await files.write("k/v", content, if_version=first.version)
    for missing in ("k/none", "nowhere/none"):
        with pytest.raises(Conflict, match="none is not of version"):
            await files.write(missing, b"x", if_version=first.version)
    assert await names(files) == ["k/v"]
    assert await files.read("k/v") == b"second"
    with pytest.raises(ValueError, match="give one of them"):
        await files.write("k/v", b"x", mode="create", if_version=first.version)

    async def add_one() -> int:
        """As many attempts as it takes to count one up, with everybody doing so."""
        attempts = 0
        while True:
            attempts += 1
            seen = await files.stat("k/count")
            number = int(await files.read("k/count"))
            try:
                await files.write("k/count", b"%d" % (number + 1), if_version=seen.version)
                return attempts
            except Conflict:
                pass

    await files.write("k/count", b"0")
    await asyncio.gather(*(add_one() for _ in range(6)))
    assert int(await files.read("k/count")) == 6, "no write is lost"
    await _empty(files)


async def _writes_what_is_large(files: Files) -> None:
    """More than a bucket takes in one piece, in pieces of odd sizes, smaller and larger than its own."""
    content = hashlib.shake_256(b"large").digest(8_500_001)

    async def odd(*sizes: int) -> AsyncIterator[bytes]:
        at = 0
        for size in sizes:
            yield content[at : at + size]
            at += size
        yield content[at:]

    info = await files.write("large", content[1:])
    for data in (content, odd(1, 4_999_999, 17, 0)):
        info = await files.write("large", data)
        assert info.size_bytes == len(content)
        assert info == await files.stat("large")
    assert await files.read("large") == content
    assert await files.read("large", offset=8_388_600, size_bytes=16) == content[8_388_600:8_388_616]
    with pytest.raises(FileExistsError):
        await files.write("large", odd(5), mode="create")
    replaced = await files.write("large", odd(8_400_000), if_version=info.version)
    with pytest.raises(Conflict):
        await files.write("large", odd(5), if_version="0" * 32)
    assert await files.stat("large") == replaced
    await files.write("new", odd(7), mode="create")
    seen = hashlib.sha256()
    async for chunk in files.stream("new"):
        seen.update(chunk)
    assert seen.hexdigest() == hashlib.sha256(content).hexdigest()
    await _empty(files)


async def _deletes_many(files: Files) -> None:
    paths = [f"m/{number}" for number in range(7)]
    for path in paths:
        await files.write(path, b"x")
    with pytest.raises(BadInput):
        await files.delete_many([*paths, "../up"])
    assert await names(files) == paths
    await files.delete_many([*paths[:-1], "m/missing", "no/where"])
    assert await names(files) == paths[-1:]
    await files.delete_many(iter(paths))
    await files.delete_many([])
    assert await names(files) == []


async def _links(files: Files, fetch: Fetch | None) -> None:
    if fetch is None:
        with pytest.raises(Faults, match="set FS_LOCAL_LINK_KEY"):
            await files.link("a", expires_s=60)
        return
    await files.write("l/ünï code+&?.csv", b"linked")
    await files.write("l/other", b"other")
    url = await files.link("l/ünï code+&?.csv", expires_s=60)
    assert await fetch(url) == (200, b"linked")
    status, content = await fetch(re.sub(r"/l/[^?]+", "/l/other", url))
    assert (status, content == b"other") == (403, False)
    status, _ = await fetch(await files.link("l/none", expires_s=60))
    assert status == 404
    for wrong in (0, 0.5, -1, LONGEST_LINK_S + 1, float("nan")):
        with pytest.raises(ValueError, match="from 1 to"):
            await files.link("l/other", expires_s=wrong)
    with pytest.raises(BadInput):
        await files.link("../l", expires_s=60)
    await _empty(files)
