"""What of any text, JSON or ending is kept."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.ledger import storable
from adapters.ledger.ending import LONGEST_WAIT_S, ending_of
from contracts import outcome
from contracts.errors import BadInput
from contracts.job import Claim, JobState, Progress
from contracts.ports.ledger import DeadLetter, Settlement

any_text = st.text(st.characters(categories=None)) | st.text('a\x00\ud800\udc00é€😀\\"{}, ')
plain = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
any_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=8,
)


def fits(text: str, *, keep: int) -> bool:
    return "\x00" not in text and len(text.encode()) <= keep


@given(any_text)
def test_text_is_made_to_fit_and_fitting_text_is_left_alone(text: str) -> None:
    kept = storable.text(text)
    assert "\x00" not in kept
    kept.encode()
    assert storable.text(kept) == kept
    if "\x00" not in text and kept != text:
        with pytest.raises(UnicodeEncodeError):
            text.encode()


@given(any_text, st.integers(20, 60))
def test_what_is_cut_keeps_its_beginning_and_its_end(text: str, keep: int) -> None:
    kept = storable.cut(text, keep=keep)
    assert fits(kept, keep=keep)
    whole = storable.text(text)
    if len(whole.encode()) <= keep:
        assert kept == whole
    else:
        begin, mark, end = kept.partition(" … ")
        assert mark
        if not any("\ud800" <= one <= "\udfff" for one in text):
            assert whole.startswith(begin)
            assert whole.endswith(end)


def test_a_long_traceback_keeps_its_last_line() -> None:
    kept = storable.cut("Traceback\n" + "  deep\n" * 100_000 + "ValueError: the reason")
    assert kept.startswith("Traceback\n")
    assert kept.endswith("ValueError: the reason")
    assert len(kept.encode()) <= storable.TEXT_BYTES


@given(any_text)
def test_a_name_is_kept_as_it_is_or_refused(text: str) -> None:
    if text and storable.text(text) == text and fits(text, keep=storable.NAME_BYTES):
        assert storable.name(text, what="job id") == text
    else:
        with pytest.raises(BadInput, match="use 1 to 512 bytes"):
            storable.name(text, what="job id")


@given(st.lists(any_text | st.text(min_size=200, max_size=600), unique=True, max_size=5))
def test_keys_that_differ_stay_different(keys: list[str]) -> None:
    kept = [storable.key(key) for key in keys]
    assert len(set(kept)) == len(keys)
    assert all(key is not None and fits(key, keep=storable.NAME_BYTES) for key in kept)
    assert storable.key(None) is None


@given(any_json, st.booleans())
def test_json_is_kept_readable(value: Any, ascii_only: bool) -> None:
    """What PostgreSQL would refuse is replaced, and nothing else is touched."""
    try:
        raw = json.dumps(value, ensure_ascii=ascii_only).encode()
    except UnicodeEncodeError:
        return
    kept = msgspec.json.decode(storable.json(raw, what="the result"))
    assert kept == _replaced(value)


def _replaced(value: Any) -> Any:
    match value:
        case str():
            return storable.text(value)
        case list():
            return [_replaced(one) for one in value]
        case dict():
            return {storable.text(key): _replaced(one) for key, one in value.items()}
        case _:
            return value


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"nan", b"'a'", b'"\xff"', b"1 2", b"[" * 100_000, rb'"\ud800', rb'{"\udead"}']
)
def test_what_is_not_json_is_refused(raw: bytes) -> None:
    with pytest.raises(BadInput, match="the result is not JSON"):
        storable.json(raw, what="the result")


def test_json_is_bounded() -> None:
    assert storable.json(b'"' + b"x" * (storable.JSON_BYTES - 2) + b'"', what="it")
    with pytest.raises(BadInput, match="1048577 bytes of JSON and at most 1048576 are kept: write it to a file"):
        storable.json(b'"' + b"x" * (storable.JSON_BYTES - 1) + b'"', what="it")


@given(st.dictionaries(any_text, any_text, max_size=4))
def test_headers_are_kept(headers: dict[str, str]) -> None:
    kept = json.loads(storable.headers(headers))
    assert kept == {storable.text(name): storable.text(said) for name, said in headers.items()}


@given(any_text, any_text, any_text)
def test_no_dead_letter_is_refused(id_: str, reason: str, header: str) -> None:
    letter = DeadLetter(
        id=id_, address=id_, reason=reason, body=b"", key=reason, headers={header: header}, origin=reason
    )
    kept = storable.letter(letter)
    msgspec.json.encode(kept)
    assert fits(kept.id, keep=storable.NAME_BYTES)
    assert storable.letter(kept) == kept


outcomes = st.one_of(
    st.builds(outcome.Done),
    st.builds(outcome.Retry, after_s=st.floats(), counts=st.booleans(), error=any_text, traceback=any_text),
    st.builds(outcome.Dead, reason=any_text, error=any_text, traceback=any_text),
    st.builds(outcome.Cancelled, reason=any_text),
    st.builds(outcome.Release, reason=any_text, after_s=st.floats()),
)


@given(
    outcomes, st.none() | st.binary(max_size=30), st.none() | st.builds(Progress, rows=st.integers(0), message=any_text)
)
def test_every_run_has_an_ending(said: outcome.Outcome, result: bytes | None, progress: Progress | None) -> None:
    ended = msgspec.convert(
        {
            "id": "a",
            "address": "x",
            "body": "",
            "fence": 1,
            "attempt": 1,
            "claims": 1,
            "recorded_at": "2026-01-01T00:00:00Z",
        },
        Claim,
    )
    ending = ending_of(Settlement(claim=ended, outcome=said, result=result, progress=progress))
    expected = {
        outcome.Done: (JobState.DONE, JobState.FAILED),
        outcome.Retry: (JobState.QUEUED,),
        outcome.Dead: (JobState.FAILED,),
        outcome.Cancelled: (JobState.CANCELLED,),
        outcome.Release: (JobState.QUEUED,),
    }
    assert ending.state in expected[type(said)]
    assert ending.after_s is None or (0 <= ending.after_s <= LONGEST_WAIT_S and ending.state is JobState.QUEUED)
    assert (ending.after_s is not None) >= isinstance(said, outcome.Retry)
    assert ending.counts == (not isinstance(said, outcome.Release) and getattr(said, "counts", True))
    for text in (ending.error, ending.traceback, ending.progress):
        assert text is None or fits(text, keep=storable.TEXT_BYTES)
    if isinstance(said, outcome.Done) and ending.state is JobState.FAILED:
        assert ending.error
        assert "ran to its end" in ending.error
