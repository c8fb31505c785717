from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import msgspec
import pytest

from adapters.clock.system import SystemClock
from adapters.files.s3 import files as s3_files
from adapters.files.s3.bucket import Bucket
from adapters.files.s3.files import S3Files
from adapters.files.s3.writing import PART_BYTES
from contracts.errors import Faults, Transient, Unavailable
from contracts.ports.secrets import Secret, fixed
from tests.conformance.files_suite import exercise_files, names
from tests.kit import services
from tests.kit.buckets import fresh_bucket, keys_of, uploads
from tests.kit.proxied import proxied
from tests.kit.services.minio import KMS_KEY
from tests.kit.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture
async def bucket(minio: services.Running) -> AsyncIterator[Bucket]:
    async with fresh_bucket(minio) as made:
        yield made


@pytest.fixture
async def files(bucket: Bucket) -> AsyncIterator[S3Files]:
    files = S3Files(bucket, clock=SystemClock())
    await files.open()
    yield files
    await files.close()
    await files.close()


async def fetch(url: str) -> tuple[int, bytes]:
    async with httpx.AsyncClient() as client:
        answer = await client.get(url)
    return answer.status_code, answer.content


async def half() -> AsyncIterator[bytes]:
    """Two parts, and then nothing for good."""
    yield b"x" * (2 * PART_BYTES)
    await asyncio.Event().wait()


async def test_s3_files(files: S3Files, bucket: Bucket) -> None:
    await exercise_files(files, fetch)
    assert await uploads(bucket, "w", "fresh", "large", "new") == [], "what failed or was cancelled has left no parts"
    assert await names(files) == []


async def test_files_beneath_a_prefix_that_are_encrypted(bucket: Bucket) -> None:
    below = msgspec.structs.replace(bucket, prefix="/team/lake/", encryption="aws:kms", kms_key=KMS_KEY)
    whole, files = (S3Files(one, clock=SystemClock()) for one in (bucket, below))
    await whole.open()
    await files.open()
    try:
        await whole.write("team/lakes", b"a neighbour")
        await exercise_files(files, fetch)
        await files.write("deep/a", b"x")
        assert await names(whole) == ["team/lake/deep/a", "team/lakes"]
        head = await whole._link.call("head_object", "team/lake/deep/a")
        assert head["ServerSideEncryption"] == "aws:kms"
        assert head["SSEKMSKeyId"].endswith(KMS_KEY)
        assert await names(files) == ["deep/a"]
    finally:
        await whole.close()
        await files.close()


async def test_many_are_listed_and_deleted_in_pages(files: S3Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_files, "LISTED_AT_ONCE", 3)
    monkeypatch.setattr(s3_files, "DELETED_AT_ONCE", 2)
    paths = [f"{number:02}" for number in range(10)]
    await asyncio.gather(*(files.write(path, b"x") for path in paths))
    assert await names(files) == paths
    await files.delete_many(paths[:7])
    assert await names(files) == paths[7:]


async def test_a_killed_writer_shows_nothing(files: S3Files, bucket: Bucket) -> None:
    await files.write("kept", b"old")
    access_key, secret_key = await keys_of(bucket)
    code = f"""
import asyncio, os, signal
from adapters.clock.system import SystemClock
from adapters.files.s3.bucket import Bucket
from adapters.files.s3.files import S3Files
from adapters.files.s3.writing import PART_BYTES
from contracts.ports.secrets import Secret, fixed

async def half():
    yield b"x" * (3 * PART_BYTES)
    while not (await files._link.client.list_multipart_uploads(Bucket={bucket.name!r}, Prefix="kept")).get("Uploads"):
        pass
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    global files
    files = S3Files(
        Bucket(
            name={bucket.name!r}, endpoint={bucket.endpoint!r}, path_style=True,
            access_key=fixed(Secret({access_key!r})), secret_key=fixed(Secret({secret_key!r})),
        ),
        clock=SystemClock(),
    )
    await files.open()
    await files.write("kept", half())

asyncio.run(main())
"""
    killed = await anyio.run_process([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert await names(files) == ["kept"]
    assert await files.read("kept") == b"old"
    assert await uploads(bucket, "kept") == ["kept"], "it was in the middle of it"


async def test_a_read_goes_on_where_its_connection_broke(minio: services.Running, bucket: Bucket) -> None:
    content = bytes(range(256)) * 24_000
    async with proxied(minio) as proxy, _opened(bucket, proxy.url) as files:
        await files.write("x", content)
        seen = bytearray()
        async for chunk in files.stream("x", chunk_bytes=1 << 18):
            seen += chunk
            if len(seen) % (2 << 20) < 1 << 18:
                proxy.cut()
        assert bytes(seen) == content
        assert proxy.accepted > 2

        stream = files.stream("x", chunk_bytes=1000)
        await anext(stream)
        await files.write("x", b"another one" * 10_000)
        proxy.cut()
        with pytest.raises(Transient, match="x was replaced while it was read"):
            async for _ in stream:
                pass


@pytest.mark.parametrize(("size", "last"), [(4, "put_object"), (2 * PART_BYTES, "complete_multipart_upload")])
async def test_one_whose_answer_is_lost_is_still_our_own_write(
    minio: services.Running, bucket: Bucket, size: int, last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server creates the object, and the connection breaks before it says so: the next attempt meets it."""
    async with (
        proxied(minio) as proxy,
        _opened(bucket, minio.url) as straight,
        _opened(bucket, proxy.url, timeout_s=60.0) as files,
    ):
        real = files._link.call

        async def call(operation: str, *args: Any, **more: Any) -> Any:
            if operation == last:
                proxy.stall("answers")
            return await real(operation, *args, **more)

        monkeypatch.setattr(files._link, "call", call)
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(files.write("c", b"m" * size, mode="create"))
            await until(lambda: straight.exists("c"), timeout_s=60)
            proxy.cut()
            proxy.resume()
        assert (await writing).size_bytes == size
        monkeypatch.undo()
        with pytest.raises(FileExistsError):
            await files.write("c", b"theirs", mode="create")
        assert await files.read("c", size_bytes=4) == b"mmmm"


async def test_a_server_that_does_not_answer(minio: services.Running, bucket: Bucket) -> None:
    async with proxied(minio) as proxy, _opened(bucket, proxy.url, timeout_s=0.2, attempts=2) as files:
        proxy.stall()
        for act in (files.read("x"), files.write("x", b"y"), files.check(), files.delete_many(["x"])):
            with pytest.raises(Unavailable, match=r"files is not available: http://127.0.0.1:\d+/\S+"):
                await act
        proxy.resume()
        await files.write("x", b"y")


async def test_what_is_wrong_is_said_with_its_remedy(bucket: Bucket) -> None:
    for wrong, remedy in (
        ({"name": "there-is-none-such"}, "make it, or set FS_S3_BUCKET"),
        ({"secret_key": fixed(Secret("hunter2hunter2"))}, "see FS_S3_SECRET_KEY"),
        ({"access_key": fixed(Secret("hunter2"))}, "see FS_S3_ACCESS_KEY"),
        ({"endpoint": "http://127.0.0.1:1", "attempts": 1}, "127.0.0.1:1"),
    ):
        files = S3Files(msgspec.structs.replace(bucket, **wrong), clock=SystemClock())
        with pytest.raises(Unavailable, match=re.escape(remedy)) as caught:
            await files.open()
        assert "hunter2" not in str(caught.value)
        await files.close()


def test_a_bucket_that_cannot_be() -> None:
    for wrong, why in (
        ({"access_key": fixed(Secret("a"))}, "go together"),
        ({"endpoint": "http://me:hunter2@minio:9000"}, "has a user in it"),
        ({"kms_key": "k"}, "of use with the encryption aws:kms only"),
    ):
        with pytest.raises(Faults, match=why) as caught:
            Bucket(name="b", **wrong)
        assert "hunter2" not in str(caught.value)


async def test_a_cancelled_write_frees_its_parts(files: S3Files, bucket: Bucket) -> None:
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(files.write("x", half()))
        await until(lambda: _has_begun(bucket), timeout_s=60)
        writing.cancel()
    assert await uploads(bucket, "x") == []
    assert await names(files) == []


async def test_a_source_that_breaks_frees_its_parts(files: S3Files, bucket: Bucket) -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield b"x" * (2 * PART_BYTES)
        await until(lambda: _has_begun(bucket), timeout_s=60)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        await files.write("x", breaks())
    assert await uploads(bucket, "x") == []
    assert await names(files) == []


async def _has_begun(bucket: Bucket) -> bool:
    return await uploads(bucket, "x") != []


def _opened(bucket: Bucket, url: str, **changed: object) -> OpenedFiles:
    place = url.rpartition("@")[2]
    return OpenedFiles(msgspec.structs.replace(bucket, endpoint=f"http://{place}", **changed))


class OpenedFiles:
    """Files of a bucket, for a block."""

    def __init__(self, bucket: Bucket) -> None:
        self._files = S3Files(bucket, clock=SystemClock())

    async def __aenter__(self) -> S3Files:
        await self._files.open()
        return self._files

    async def __aexit__(self, *_: object) -> None:
        await self._files.close()
