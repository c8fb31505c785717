"""What waits for its file: what was saved piece by piece is what comes back."""

from __future__ import annotations

from datetime import timedelta
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.event import Lake
from modules.stream_ingest import buffer
from modules.stream_ingest.buffer import Buffer
from tests.modules.stream_ingest_kit import NOW

BATCHES = st.lists(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=5), max_size=6)


def filled(batches: list[list[bytes]]) -> tuple[Buffer, dict[str, bytes]]:
    made = Buffer()
    saved: dict[str, bytes] = {}
    ends = list(accumulate(map(len, batches)))
    for batch, end in zip(batches, ends, strict=True):
        names = made.add(batch, range(end - len(batch), end), came_at=NOW, refused=1)
        saved |= {name: made.encoded(name) for name in names}
    return made, saved


@given(batches=BATCHES, bound=st.integers(1, 20))
def test_a_restored_buffer_is_equal(batches: list[list[bytes]], bound: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(buffer, "PIECE_BYTES", bound)
        made, saved = filled(batches)
    again = Buffer.of(saved)
    assert again.raws == made.raws == [raw for batch in batches for raw in batch]
    assert (again.rows, again.bytes, again.refused) == (made.rows, made.bytes, len(batches))
    assert again.pieces == made.pieces
    if batches:
        assert again.positions == (0, made.rows - 1)
    # What comes next never takes the name of a piece that is there.
    assert not set(again.add([b"x"], range(99, 100), came_at=NOW, refused=0)) & set(saved)


def test_positions_of_any_size_are_kept() -> None:
    made = Buffer()
    (name,) = made.add([b"x"], range(1 << 100, (1 << 100) + 9), came_at=NOW, refused=0)
    assert Buffer.of({name: made.encoded(name)}).positions == (1 << 100, (1 << 100) + 8)


@pytest.mark.parametrize(
    ("lake", "waited_s", "due"),
    [
        (Lake(path="l", rows=3), 0, False),
        (Lake(path="l", rows=2), 0, True),
        (Lake(path="l", bytes=2048), 0, False),
        (Lake(path="l", bytes=1024), 0, True),
        (Lake(path="l", wait_s=10), 9.9, False),
        (Lake(path="l", wait_s=10), 10, True),
    ],
)
def test_a_file_is_due_by_rows_bytes_or_time(lake: Lake, waited_s: float, due: bool) -> None:
    made = Buffer()
    made.add([b"x" * 512], range(1), came_at=NOW, refused=0)
    made.add([b"x" * 512], range(1, 2), came_at=NOW + timedelta(seconds=waited_s), refused=0)
    assert made.due(lake, NOW + timedelta(seconds=waited_s)) is due


def test_nothing_is_never_due() -> None:
    assert not Buffer().due(Lake(path="l", rows=1), NOW + timedelta(days=1))


def test_after_clearing_there_is_nothing_and_its_names_are_told() -> None:
    made, saved = filled([[b"a"], [b"b"]])
    assert made.clear() == list(saved)
    assert (made.raws, made.rows, made.bytes) == ([], 0, 0)
