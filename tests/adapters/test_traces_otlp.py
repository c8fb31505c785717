"""Traces as a collector gets them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from adapters.clock.system import SystemClock
from adapters.traces.otlp import LINKS_MAX, OtlpTraces
from tests.kit.collector import Collector, collecting

pytestmark = pytest.mark.anyio

OTHERS = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
NOT_KEPT = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


@asynccontextmanager
async def tracing(collector: Collector, *, share: float = 1.0) -> AsyncIterator[OtlpTraces]:
    """What was made in the block has arrived when it ends."""
    traces = OtlpTraces(collector.url, clock=SystemClock(), share=share)
    await traces.open()
    await traces.check()
    try:
        yield traces
    finally:
        await traces.close()
        await traces.close()


async def test_a_span_goes_on_with_the_trace_of_a_message_and_hands_it_on(collector: Collector) -> None:
    async with tracing(collector) as traces:
        with traces.span("process orders", kind="consumer", of=[OTHERS], about={"rows": 3}) as span:
            carried, ids = traces.headers(), traces.ids()
            traces.ended("postgresql fetch", kind="client", took_s=0.5, error="Refused")
            span.note({"outcome": "done"})
        assert traces.headers() == {}
        assert traces.ids() == {}
        traces.ended("postgresql fetch", kind="client", took_s=0.5)  # by nobody's work: not told
    inner, outer = collector.spans
    assert (outer.name, outer.trace_id) == ("process orders", "0af7651916cd43dd8448eb211c80319c")
    assert (outer.parent_id, outer.links, outer.failed) == ("b7ad6b7169203331", (), None)
    assert outer.about == {"rows": "3", "outcome": "done"}
    assert carried["traceparent"] == f"00-{outer.trace_id}-{outer.span_id}-01"
    assert ids == {"trace_id": outer.trace_id, "span_id": outer.span_id}
    assert (inner.parent_id, inner.failed) == (outer.span_id, "Refused")


async def test_a_batch_begins_a_trace_and_links_to_those_of_its_messages(collector: Collector) -> None:
    many = [{"traceparent": f"00-{number:032x}-{number:016x}-01"} for number in range(1, LINKS_MAX + 10)]
    async with tracing(collector) as traces:
        with traces.span("process orders", kind="consumer", of=[many[0], many[1], many[0], {}, {"traceparent": "?"}]):
            pass
        with traces.span("process orders", kind="consumer", of=many):
            pass
    two, full = collector.spans
    assert (two.links, two.parent_id) == ((f"{1:016x}", f"{2:016x}"), "")
    assert two.trace_id not in (f"{1:032x}", f"{2:032x}")
    assert len(full.links) == LINKS_MAX


async def test_what_raises_is_told_without_its_words(collector: Collector) -> None:
    async with tracing(collector) as traces:
        with pytest.raises(ValueError, match="secret"), traces.span("work", kind="server"):
            raise ValueError("secret")
    [span] = collector.spans
    assert span.failed == "ValueError"


async def test_traces_of_others_are_kept_as_they_say_and_ours_by_their_share(collector: Collector) -> None:
    async with tracing(collector, share=0.0) as traces:
        with traces.span("ours", kind="server"):
            assert "traceparent" in traces.headers(), "whoever follows is told that it is not kept"
        with traces.span("kept", kind="server", of=[OTHERS]):
            pass
        with traces.span("not kept", kind="server", of=[NOT_KEPT]):
            pass
    assert [span.name for span in collector.spans] == ["kept"]


async def test_a_collector_that_is_away_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    with collecting() as gone:
        url = gone.url
    traces = OtlpTraces(url.replace("//", "//user:secret@"), clock=SystemClock())
    assert traces.address == url
    async with tracing(gone) as traces:
        with traces.span("work", kind="server"):
            pass
    assert "secret" not in caplog.text
