from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.clock.manual import ManualClock
from adapters.log.standard import route_standard_logging
from adapters.log.structured import Format, Level, StructuredLog, make_log
from contracts.logging_context import current_work, work
from contracts.ports.log import Log
from contracts.ports.secrets import Secret


class Capture:
    """A log and what it wrote."""

    def __init__(self, format: Format = "json", level: Level = "debug", **options: Any) -> None:
        self.stream = io.StringIO()
        clock = ManualClock(start_at=datetime(2026, 3, 4, 5, 6, 7, 89_000, tzinfo=UTC))
        self.log = make_log(clock=clock, format=format, level=level, stream=self.stream, **options)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


def test_a_line_has_the_promised_fields_in_their_order() -> None:
    capture = Capture()
    log: Log = capture.log
    with work(correlation_id="c-1", job_id="j-1", module="batch_etl"):
        log.info("rows loaded", rows=5, path="a.csv")
    assert capture.text == (
        '{"timestamp":"2026-03-04T05:06:07.089Z","level":"INFO","module":"batch_etl","correlation_id":"c-1",'
        '"job_id":"j-1","message":"rows loaded","context":{"rows":5,"path":"a.csv"}}\n'
    )


def test_context_cannot_overwrite_the_lines_own_fields() -> None:
    capture = Capture()
    capture.log.info("said", message="other", level="none", timestamp=0)
    (line,) = capture.lines
    assert (line["message"], line["level"], line["timestamp"]) == ("said", "INFO", "2026-03-04T05:06:07.089Z")
    assert line["context"] == {"message": "other", "level": "none", "timestamp": 0}


def test_work_nests_and_ends() -> None:
    capture = Capture()
    with work(correlation_id="outer", module="m"):
        with work(job_id="j"):
            capture.log.info("inside")
        capture.log.info("between")
    capture.log.info("outside")
    seen = [(line.get("correlation_id"), line.get("job_id"), line.get("module")) for line in capture.lines]
    assert seen == [("outer", "j", "m"), ("outer", None, "m"), (None, None, None)]
    assert current_work().correlation_id == ""


def test_bind_adds_and_leaves_the_first_log_alone() -> None:
    capture = Capture()
    bound = capture.log.bind(module="api", lane=3).bind(lane=4)
    bound.warn("slow", seconds=2.5)
    capture.log.warn("plain")
    first, second = capture.lines
    assert first["module"] == "api"
    assert first["context"] == {"lane": 4, "seconds": 2.5}
    assert "context" not in second


@pytest.mark.parametrize(
    ("level", "written"),
    [("debug", 4), ("info", 3), ("warn", 2), ("error", 1)],
)
def test_levels(level: Level, written: int) -> None:
    capture = Capture(level=level)
    for write in (capture.log.debug, capture.log.info, capture.log.warn, capture.log.error):
        write("line")
    assert [line["level"] for line in capture.lines] == ["DEBUG", "INFO", "WARN", "ERROR"][-written:]


def test_exception_has_its_traceback_without_secrets() -> None:
    capture = Capture()
    try:
        raise OSError("can't reach postgresql://app:hunter2@db:5432/x")
    except OSError:
        capture.log.exception("connect failed")
    (line,) = capture.lines
    assert line["level"] == "ERROR"
    assert line["exception"].startswith("Traceback (most recent call last):")
    assert line["exception"].endswith("OSError: can't reach postgresql://app:***@db:5432/x")


class Credentials(msgspec.Struct):
    user: str
    api_key: str


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class BrokenMapping(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("no")


def test_odd_values_are_shown_and_never_raise() -> None:
    capture = Capture()
    endless: list[Any] = []
    endless.append(endless)
    capture.log.info(
        "odd",
        raw=b"\xff\x00ok",
        big=2**80,
        nan=float("nan"),
        surrogate="a\ud800b",
        moment=datetime(2026, 1, 1, tzinfo=UTC),
        day=date(2026, 1, 2),
        span=timedelta(minutes=1),
        price=Decimal("1.50"),
        id=UUID(int=1),
        error=KeyError("k"),
        broken=Broken(),
        broken_mapping=BrokenMapping(a=1),
        endless=endless,
        keys={1: "one", (2, 3): "pair"},
        members={"only"},
        kind=object,
    )
    (line,) = capture.lines
    shown = line["context"]
    assert shown["raw"] == "\\xff\x00ok"
    assert shown["big"] == str(2**80)
    assert shown["nan"] is None
    assert shown["surrogate"] == "a\\ud800b"
    assert shown["moment"] == "2026-01-01T00:00:00+00:00"
    assert shown["day"] == "2026-01-02"
    assert shown["span"] == 60.0
    assert shown["price"] == "Decimal('1.50')"
    assert shown["error"] == "KeyError: 'k'"
    assert shown["broken"] == "<Broken without a repr: RuntimeError>"
    assert shown["broken_mapping"] == "<BrokenMapping that can't be shown: RuntimeError>"
    assert "too deep" in json.dumps(shown["endless"])
    assert shown["keys"] == {"1": "one", "(2, 3)": "pair"}
    assert shown["members"] == ["only"]


def test_long_and_wide_values_are_cut_and_say_so() -> None:
    capture = Capture()
    capture.log.info("x" * 20_000, items=list(range(1000)), blob=b"y" * 20_000, wide={str(n): n for n in range(100)})
    (line,) = capture.lines
    assert line["message"].endswith("… (+11808 characters)")
    assert line["context"]["items"][-1] == "… (+936 items)"
    assert line["context"]["blob"].endswith("… (+11808 bytes)")
    assert line["context"]["wide"]["…"] == "+36 entries"
    assert len(capture.text) < 30_000


@pytest.mark.parametrize(
    "context",
    [
        {"password": "hunter2"},
        {"DB_PASSWORD": "hunter2"},
        {"headers": {"Authorization": "Bearer hunter2hunter2"}},
        {"apiKey": "hunter2"},
        {"aws_secret_access_key": "hunter2"},
        {"token": Secret("hunter2")},
        {"given": Secret("hunter2")},
        {"secrets": ["hunter2"]},
        {"who": Credentials(user="me", api_key="hunter2")},
        {"url": "redis://:hunter2@h:6379/0"},
        {"url": "postgresql://me:hunter2/?x@h/db"},
        {"urls": ["kafka://a", "amqp://me:hunter2@h"]},
        {"dsn_text": "host=h password=hunter2 user=me"},
        {"dsn_text": "password='hunter2' host=h"},
        {"link": "https://h/x?X-Amz-Signature=hunter2&y=1"},
        {"body": '{"user": "me", "password": "hunter2"}'},
        {"header": "Authorization: Bearer hunter2hunter2"},
        {"raw": b"postgresql://me:hunter2@h/db"},
        {"error": ValueError("bad url postgresql://me:hunter2@h/db")},
    ],
)
@pytest.mark.parametrize("format", ["json", "pretty"])
def test_secrets_do_not_show(format: Format, context: dict[str, Any]) -> None:
    capture = Capture(format)
    capture.log.info("connecting", **context)
    capture.log.bind(**context).info(f"with {context!r}" if "url" in context else "bound")
    assert "hunter2" not in capture.text
    assert "***" in capture.text


def test_what_only_resembles_a_secret_is_shown() -> None:
    capture = Capture()
    capture.log.info("ok", null_tokens=["", "NA"], tokenizer="x", secretary="Ann", url="http://h:8080/a@b")
    assert capture.lines[0]["context"] == {
        "null_tokens": ["", "NA"],
        "tokenizer": "x",
        "secretary": "Ann",
        "url": "http://h:8080/a@b",
    }


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.datetimes()
    | st.decimals()
    | st.characters(categories=["Cs"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner, max_size=4)
        | st.tuples(inner)
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(message=st.text(), value=anything)
@pytest.mark.parametrize("format", ["json", "pretty"])
def test_any_value_makes_exactly_one_line_of_json_and_no_control_characters(
    format: Format, message: str, value: Any
) -> None:
    capture = Capture(format)
    capture.log.error(message, value=value)
    if format == "json":
        assert len(capture.lines) == 1
        assert capture.text.count("\n") == 1
        assert msgspec.json.decode(capture.text)["level"] == "ERROR"
    else:
        assert not set(capture.text) & ({chr(code) for code in range(32)} - {"\n", "\t"})
        first, *rest = capture.text.rstrip("\n").split("\n")
        assert first.startswith("2026-03-04T05:06:07.089Z [error")
        assert all(line.startswith("    ") for line in rest)


def test_pretty_is_coloured_only_when_asked_for() -> None:
    coloured, bare = Capture("pretty", colours=True), Capture("pretty", colours=False)
    for capture in (coloured, bare):
        with work(module="batch_etl", job_id="j-1"):
            capture.log.info("loaded", rows=5, exception="given", event="e")
    assert "\x1b[" in coloured.text
    assert "\x1b[" not in bare.text
    assert "loaded" in bare.text
    assert "[batch_etl]" in bare.text
    assert "rows=5" in bare.text
    assert "job_id=j-1" in bare.text
    assert "exception_=given" in bare.text
    assert "event_=e" in bare.text


def test_pretty_shows_a_traceback_below_its_line() -> None:
    capture = Capture("pretty", colours=False)
    try:
        raise ValueError("wrong")
    except ValueError:
        capture.log.exception("failed")
    first, *rest = capture.text.splitlines()
    assert "failed" in first
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[-1] == "ValueError: wrong"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_format_is_told_by_the_stream() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    make_log(clock=ManualClock(), stream=terminal).info("x")
    make_log(clock=ManualClock(), stream=pipe).info("x")
    assert "\x1b[" in terminal.getvalue()
    assert json.loads(pipe.getvalue())["message"] == "x"


def test_a_stream_that_cannot_encode_or_is_closed() -> None:
    raw = io.BytesIO()
    narrow = io.TextIOWrapper(raw, encoding="ascii")
    log = make_log(clock=ManualClock(), format="json", stream=narrow)
    log.info("naïve")
    assert b"na\\xefve" in raw.getvalue()
    narrow.close()
    log.info("after the end")


@pytest.fixture
def routed() -> Any:
    undoing: list[Callable[[], None]] = []

    def route(log: StructuredLog) -> None:
        undoing.append(route_standard_logging(log))

    yield route
    for undo in reversed(undoing):
        undo()


def test_standard_records_come_through_the_same_form(routed: Callable[[StructuredLog], None]) -> None:
    theirs = io.StringIO()
    chatty = logging.getLogger("uvicorn.error")
    own = logging.StreamHandler(theirs)
    chatty.addHandler(own)
    try:
        capture = Capture(level="info")
        routed(capture.log)
        with work(correlation_id="c"):
            chatty.warning("took %d s from %s", 3, "redis://:hunter2@h", extra={"channel": "x"})
        chatty.debug("too low")
        logging.getLogger("asyncpg").error("mismatch %d", "x")
        try:
            raise KeyError("k")
        except KeyError:
            logging.getLogger("faststream").exception("broke")
    finally:
        chatty.removeHandler(own)
    first, second, third = capture.lines
    assert first["message"] == "took 3 s from redis://:***@h"
    assert first["level"] == "WARN"
    assert first["correlation_id"] == "c"
    assert first["context"] == {"channel": "x", "logger": "uvicorn.error"}
    assert second["message"] == "mismatch %d ('x',)"
    assert third["exception"].endswith("KeyError: 'k'")
    assert theirs.getvalue() == ""


def test_warnings_are_lines_and_routing_is_undone() -> None:
    before = (logging.getLogger().handlers[:], logging.getLogger().level, logging.getLogger("faststream").handlers[:])
    capture = Capture()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        undo = route_standard_logging(capture.log)
        warnings.warn("old thing", UserWarning, stacklevel=1)
        undo()
    assert "old thing" in capture.lines[-1]["message"]
    after = (logging.getLogger().handlers[:], logging.getLogger().level, logging.getLogger("faststream").handlers[:])
    assert after == before


@pytest.mark.parametrize(("level", "heard"), [("info", ["left"]), ("debug", ["joined", "left"])])
def test_a_talkative_package_is_heard_in_full_by_who_looks_for_faults(level: Level, heard: list[str]) -> None:
    capture = Capture(level=level)
    theirs = logging.getLogger("aiokafka.consumer.group_coordinator")
    undo = route_standard_logging(capture.log)
    theirs.info("joined")
    theirs.warning("left")
    undo()
    assert [line["message"] for line in capture.lines] == heard
    assert logging.getLogger("aiokafka").level == logging.NOTSET


def test_json_logging_imports_neither_structlog_nor_rich() -> None:
    code = """
import io, sys
from adapters.clock.system import SystemClock
from adapters.log.structured import make_log
import adapters.log.standard
make_log(clock=SystemClock(), format="json", stream=io.StringIO()).info("x", rows=1)
heavy = {"structlog", "rich", "asyncpg", "faststream"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)


def test_what_a_package_repeats_is_told_once_in_a_while(routed: Callable[[StructuredLog], None]) -> None:
    capture = Capture(level="info")
    routed(capture.log)
    chatty = logging.getLogger("aiokafka.client")

    def says(at: float, text: str) -> None:
        record = chatty.makeRecord(chatty.name, logging.ERROR, "f", 1, text, (), None)
        record.created = at
        chatty.handle(record)

    for at in (100.0, 101.0, 102.0):
        says(at, "no answer")
    says(102.0, "something else")
    says(106.0, "no answer")
    logging.getLogger("millrace.bus").error("ours")
    logging.getLogger("millrace.bus").error("ours")
    told = [(line["message"], line["context"].get("left_out")) for line in capture.lines]
    assert told == [("no answer", None), ("something else", None), ("no answer", 2), ("ours", None), ("ours", None)]
