from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from adapters.clock.system import SystemClock
from adapters.files.local import LocalFiles
from adapters.files.traced import TracedFiles
from adapters.traces.otlp import OtlpTraces
from contracts.errors import BadInput, Transient, Unavailable
from tests.conformance.files_suite import exercise_files, names, pieces

pytestmark = pytest.mark.anyio


@pytest.fixture
async def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
async def files(root: Path) -> AsyncIterator[LocalFiles]:
    files = LocalFiles(root)
    await files.open()
    yield files
    await files.close()
    await files.close()


async def test_local_files(files: LocalFiles) -> None:
    await exercise_files(files)


async def test_traced_files(files: LocalFiles) -> None:
    """What stands before others keeps their promises; `tests/integration/test_traces.py` sees its spans."""
    await exercise_files(TracedFiles(files, OtlpTraces("http://127.0.0.1:1", clock=SystemClock()), kind="local"))


async def test_where_files_without_a_name_are_unknown(files: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    await exercise_files(files)


async def test_nothing_is_left_open_or_lying_about(files: LocalFiles, root: Path) -> None:
    before = _open_files()
    await exercise_files(files)
    stream = None
    await files.write("x", b"y" * 100_000)
    async for _ in (stream := files.stream("x", chunk_bytes=10)):
        break
    await stream.aclose()  # type: ignore[attr-defined]
    await files.delete("x")
    assert [names for _, _, names in os.walk(root) if names] == []
    assert _open_files() <= before + 8, "the pool's threads apart, nothing stays open"


def _open_files() -> int:
    return len(os.listdir("/dev/fd"))


async def test_links_that_lead_out_are_refused(files: LocalFiles, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    (root / "to_file").symlink_to(outside / "secret")
    (root / "to_directory").symlink_to(outside)
    (root / "relative").symlink_to("../outside/secret")
    (root / "two").mkdir()
    (root / "two" / "hops").symlink_to("../to_directory/secret")
    (root / "sibling").symlink_to(f"{root}-not/secret")
    (root / "circle").symlink_to("circle")
    for path in ("to_file", "to_directory/secret", "relative", "two/hops", "sibling", "circle"):
        for act in (files.stat(path), files.read(path), files.exists(path), files.write(path, b"mine")):
            with pytest.raises(BadInput, match="link"):
                await act
        with pytest.raises(BadInput, match="link"):
            await anext(files.stream(path))
    with pytest.raises(BadInput, match="link"):
        await files.write("to_directory/new", b"mine")
    with pytest.raises(BadInput, match="link"):
        await files.delete("to_directory/secret")
    assert await names(files) == []
    await files.delete("to_file")
    assert not (root / "to_file").is_symlink()
    assert (outside / "secret").read_text() == "s"
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]


async def test_links_that_stay_inside_are_followed(files: LocalFiles, root: Path) -> None:
    await files.write("real/a", b"1")
    await files.write("real/b", b"2")
    (root / "link").symlink_to("real")
    (root / "absolute").symlink_to(root / "real" / "a")
    (root / "real" / "up").symlink_to("..")
    (root / "real" / "self").symlink_to("../real/b")
    (root / "broken").symlink_to("nothing")
    assert await files.read("link/a") == b"1"
    assert await files.read("absolute") == b"1"
    assert await files.read("real/up/real/self") == b"2"
    assert not await files.exists("broken")
    listed = await names(files)
    assert listed == sorted(listed)
    assert {"real/a", "real/b", "real/self", "absolute", "link/a", "link/b"} <= set(listed)
    assert "broken" not in listed
    assert max(path.count("/") for path in listed) <= 3, "a link to a directory that we are in is not walked again"
    await files.write("absolute", b"3")
    assert (root / "absolute").is_symlink()
    assert await files.read("real/a") == b"3"


async def test_a_directory_exchanged_for_a_link_leads_nowhere(files: LocalFiles, root: Path, tmp_path: Path) -> None:
    """One thread keeps exchanging `d` for a link to the outside; whatever is read meanwhile comes from inside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("outside")
    await files.write("d/f", b"inside")
    stop = threading.Event()

    def exchange() -> None:
        while not stop.is_set():
            os.rename(root / "d", root / "kept")
            os.symlink(outside, root / "d")
            os.unlink(root / "d")
            os.rename(root / "kept", root / "d")

    exchanging = threading.Thread(target=exchange)
    exchanging.start()
    seen: set[bytes | str] = set()
    try:
        for _ in range(400):
            try:
                seen.add(await files.read("d/f"))
            except (FileNotFoundError, BadInput) as error:
                seen.add(type(error).__name__)
    finally:
        stop.set()
        exchanging.join()
    assert b"outside" not in seen
    assert b"inside" in seen


async def test_what_is_no_file_is_refused_at_once(files: LocalFiles, root: Path) -> None:
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
        for path in ("pipe", "socket"):
            for act in (files.read(path), files.stat(path), files.write(path, b"")):
                with pytest.raises(BadInput, match="give a file"):
                    await act
    assert await names(files) == []


async def test_a_file_changed_in_place_is_told(files: LocalFiles, root: Path) -> None:
    await files.write("log", b"x" * 10_000)
    stream = files.stream("log", chunk_bytes=1000)
    await anext(stream)
    with (root / "log").open("ab") as log:
        log.write(b"more")
    with pytest.raises(Transient, match="log was changed in place"):
        async for _ in stream:
            pass


async def test_names_of_unfinished_files_are_kept_apart(files: LocalFiles, root: Path) -> None:
    (root / ".millrace-partial-0123").write_bytes(b"half")
    assert await names(files) == []
    with pytest.raises(BadInput, match="unfinished"):
        await files.read(".millrace-partial-0123")


async def test_a_name_that_is_not_utf8_is_told(files: LocalFiles, root: Path) -> None:
    (root / "d").mkdir()
    (root / "d" / os.fsdecode(b"\xff.csv")).touch()
    with pytest.raises(BadInput, match=r"d/\\xff.csv.*rename"):
        await names(files)


async def test_a_file_is_no_directory(files: LocalFiles) -> None:
    await files.write("f", b"x")
    with pytest.raises(BadInput, match="as if it were a directory"):
        await files.write("f/g", b"y")
    await files.write("d/f", b"x")
    with pytest.raises(IsADirectoryError):
        await files.write("d", b"y")
    with pytest.raises(IsADirectoryError):
        await files.delete("d")


async def test_permissions_follow_the_umask(files: LocalFiles, root: Path) -> None:
    before = os.umask(0o027)
    try:
        await files.write("p", b"x")
        await files.write("p2", pieces(b"x"), mode="create")
    finally:
        os.umask(before)
    assert {stat.S_IMODE((root / name).stat().st_mode) for name in ("p", "p2")} == {0o640}


async def test_content_and_name_are_synced(files: LocalFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(file: int) -> None:
        real(file)
        synced.append("directory" if stat.S_ISDIR(os.fstat(file).st_mode) else "file")

    monkeypatch.setattr(os, "fsync", fsync)
    await files.write("made/x", b"1")
    assert synced == ["directory", "file", "directory"]


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="without unnamed files a killed writer leaves a hidden one")
async def test_a_killed_writer_leaves_nothing(root: Path, files: LocalFiles) -> None:
    await files.write("kept", b"old")
    code = f"""
import asyncio, os
from adapters.clock.system import SystemClock
from adapters.files.local import LocalFiles
from adapters.files.traced import TracedFiles
from adapters.traces.otlp import OtlpTraces

async def half():
    yield b"x" * (3 << 20)
    os.kill(os.getpid(), 9)

async def main():
    files = LocalFiles({str(root)!r})
    await files.open()
    await files.write("kept", half())

asyncio.run(main())
"""
    killed = await anyio.run_process([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert os.listdir(root) == ["kept"]
    assert await files.read("kept") == b"old"


async def test_a_root_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="files is not available"):
        await LocalFiles(tmp_path / "file" / "below").open()
    with pytest.raises(Unavailable):
        await LocalFiles(tmp_path / "file").open()
    gone = LocalFiles(tmp_path / "gone")
    await gone.open()
    assert gone.address == f"file://{tmp_path}/gone"
    (tmp_path / "gone").rmdir()
    with pytest.raises(Unavailable, match="No such file"):
        await gone.check()
    with pytest.raises(Unavailable):
        await gone.read("x")


async def test_many_files_are_listed_in_pages(files: LocalFiles, root: Path) -> None:
    for number in range(600):
        (root / f"{number:04}").touch()
    assert await names(files) == [f"{number:04}" for number in range(600)]
    async for info in files.list():
        assert info.path == "0000"
        break


async def test_a_cancelled_reader_leaves_nothing_open(files: LocalFiles, root: Path) -> None:
    await files.write("x", b"y" * 100_000)
    before = _open_files()
    for _ in range(50):
        reader = asyncio.get_running_loop().create_task(_drain(files))
        await asyncio.sleep(0)  # noqa: TID251 - one turn, so that it has begun
        reader.cancel()
        await asyncio.wait([reader])
    await files.read("x")
    assert _open_files() <= before + 8


async def _drain(files: LocalFiles) -> None:
    async for _ in files.stream("x", chunk_bytes=100):
        pass
