"""A running worker, asked over HTTP by the command line where there is no ledger to open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from contracts.errors import BadInput, Conflict, MillraceError, NotFound, Unavailable
from contracts.job import JobState
from contracts.ports import Secret
from contracts.ports.ledger import JobFilter
from runtime.cli.remote import Remote
from tests.integration.http_site import Seen, Site, running

pytestmark = [pytest.mark.anyio, pytest.mark.integration]


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with running(database_url, tmp_path) as site:
        yield site


@pytest.fixture
def remote(site: Site) -> Remote:
    return Remote(site.worker.http.address)


async def post(remote: Remote, address: str, body: object, *, message_id: str = "one") -> dict[str, object]:
    return await remote.post(
        address, msgspec.json.encode(body), message_id=message_id, correlation_id="origin", options={"priority": 2}
    )


async def test_a_worker_is_told_from_anything_else(remote: Remote, site: Site) -> None:
    assert await remote.is_millrace()
    assert not await Remote("http://127.0.0.1:1").is_millrace()


async def test_a_command_is_posted_and_its_job_looked_after(remote: Remote, site: Site) -> None:
    said = await post(remote, "run.echo", {"text": "hi", "times": 2})
    assert (said["job_id"], said["address"]) == ("one", "run.echo")
    assert (await site.ended("one"))["result"] == ["hi", "hi"]
    row = await remote.get("one")
    assert row is not None
    assert (row.state, row.result, row.priority, row.correlation_id) == (JobState.DONE, ["hi", "hi"], 2, "origin")
    assert await remote.get("nothing") is None
    with pytest.raises(Conflict):
        await remote.cancel("one")
    with pytest.raises(Conflict):
        await remote.retry("one")
    with pytest.raises(NotFound):
        await remote.cancel("nothing")


async def test_a_job_is_cancelled_and_queued_again(remote: Remote, site: Site) -> None:
    await post(remote, "run.held", {"name": "a"}, message_id="held")
    await site.hold.begun.wait()
    assert await remote.cancel("held") is JobState.RUNNING
    assert (await site.ended("held"))["state"] == "cancelled"
    site.hold.let_go.set()
    await remote.retry("held")
    assert (await site.ended("held"))["state"] == "done"


async def test_jobs_are_listed_over_as_many_pages_as_it_takes(
    remote: Remote, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.cli.remote.PAGE", 2)
    for number in range(5):
        await post(remote, "run.echo", {"text": "x"}, message_id=f"job-{number}")
        await site.ended(f"job-{number}")
    listed = await remote.list(JobFilter(limit=50))
    assert [row.id for row in listed] == [f"job-{number}" for number in (4, 3, 2, 1, 0)]
    assert [row.id for row in await remote.list(JobFilter(limit=3))] == ["job-4", "job-3", "job-2"]
    assert await remote.list(JobFilter(states=(JobState.FAILED,), limit=50)) == []
    assert await remote.list(JobFilter(address="run.held", limit=50)) == []
    assert len(await remote.list(JobFilter(correlation_id="origin", states=(JobState.DONE,), limit=50))) == 5


async def test_a_message_of_a_stream_is_taken(remote: Remote, site: Site) -> None:
    said = await post(remote, "seen.raw", {"who": "me"})
    assert (said["message_id"], said["state"]) == ("one", "accepted")
    assert await site.hold.seen.get() == Seen(who="me")


async def test_what_the_worker_refuses_is_raised_as_what_it_is(remote: Remote, site: Site) -> None:
    with pytest.raises(BadInput) as raised:
        await post(remote, "run.echo", {"text": "", "times": 0})
    assert len(raised.value.faults) == 2
    with pytest.raises(NotFound, match=r"run\.ehco"):
        await post(remote, "run.ehco", {})


async def test_a_worker_that_does_not_answer_is_said(site: Site) -> None:
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:1 is not available"):
        await Remote("http://127.0.0.1:1").get("one")


async def test_a_token_is_sent_and_a_wrong_one_refused(database_url: str, tmp_path: Path) -> None:
    async with running(database_url, tmp_path, HTTP_TOKEN="right") as site:
        address = site.worker.http.address
        assert await Remote(address, Secret("right")).list(JobFilter()) == []
        for wrong in (None, Secret("wrong")):
            assert await Remote(address, wrong).is_millrace(), "health is for anyone"
            with pytest.raises(MillraceError, match="HTTP_TOKEN"):
                await Remote(address, wrong).list(JobFilter())
