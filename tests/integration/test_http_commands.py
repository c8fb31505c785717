from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runtime.policy.drain import Phase
from tests.integration.http_site import Seen, Site, as_json, running

pytestmark = [pytest.mark.anyio, pytest.mark.integration]


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with running(database_url, tmp_path) as site:
        yield site


async def test_a_command_is_recorded_when_the_answer_comes(site: Site) -> None:
    response = await site.post("/commands/run.echo", json={"text": "ho", "times": 2})
    accepted = as_json(response)
    assert response.status_code == 202
    assert accepted["address"] == "run.echo"
    assert accepted["state"] in ("queued", "running")
    assert response.headers["location"] == accepted["location"] == f"/jobs/{accepted['job_id']}"
    assert await site.worker.adapters.ledger.desk.get(accepted["job_id"]) is not None
    job = await site.ended(accepted["job_id"])
    assert (job["state"], job["result"], job["command"]) == ("done", ["ho", "ho"], {"text": "ho", "times": 2})


async def test_every_fault_is_listed_and_nothing_is_recorded(site: Site) -> None:
    response = await site.post(
        "/commands/run.echo?key=", json={"text": "", "times": 10, "tim": 1}, headers={"Idempotency-Key": "no spaces"}
    )
    assert response.status_code == 422
    said = as_json(response)
    for word in ("text", "times", "did you mean times?", "id:", "key:"):
        assert any(word in fault for fault in said["faults"]), word
    assert as_json(await site.get("/jobs"))["jobs"] == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 50_000, b'{"text":"a\\ud800"}'])
async def test_a_body_that_is_no_command_is_422(site: Site, body: bytes) -> None:
    response = await site.post("/commands/run.echo", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    assert as_json(response)["faults"]


async def test_a_wrong_parameter_is_named(site: Site) -> None:
    response = await site.post("/commands/run.echo?priority=high&delay_s=x", json={"text": "a"})
    assert response.status_code == 422
    assert {fault.partition(":")[0] for fault in as_json(response)["faults"]} == {"priority", "delay_s"}


async def test_an_unknown_address_is_404_with_the_nearest(site: Site) -> None:
    response = await site.post("/commands/run.eco", json={})
    assert response.status_code == 404
    assert "did you mean run.echo?" in as_json(response)["detail"]


async def test_posting_again_with_the_same_key_changes_nothing(site: Site) -> None:
    for key in ("order-1", '"order-2"'):
        first, second = [
            await site.post("/commands/run.echo", json={"text": "a"}, headers={"Idempotency-Key": key}) for _ in "12"
        ]
        assert first.status_code == second.status_code == 202
        assert as_json(first)["job_id"] == as_json(second)["job_id"] == key.strip('"')
        assert "known" not in as_json(first)
        assert as_json(second)["known"] is True
    assert len(as_json(await site.get("/jobs"))["jobs"]) == 2


async def test_a_key_belongs_to_one_command(site: Site) -> None:
    await site.post("/commands/run.echo", json={"text": "a"}, headers={"Idempotency-Key": "mine"})
    for address, body in (("run.echo", {"text": "b"}), ("run.held", {})):
        response = await site.post(f"/commands/{address}", json=body, headers={"Idempotency-Key": "mine"})
        assert response.status_code == 422
        assert "another command" in as_json(response)["faults"][0]
    assert len(as_json(await site.get("/jobs"))["jobs"]) == 1


async def test_two_clients_with_one_key_make_one_job(site: Site) -> None:
    posts = [site.post("/commands/run.echo", json={"text": "a"}, headers={"Idempotency-Key": "k"}) for _ in range(8)]
    answers = await asyncio.gather(*posts)
    assert {answer.status_code for answer in answers} == {202}
    assert len(as_json(await site.get("/jobs"))["jobs"]) == 1


async def test_a_correlation_id_goes_all_the_way(site: Site) -> None:
    response = await site.post("/commands/run.echo", json={"text": "a"}, headers={"X-Correlation-Id": "order:7"})
    assert response.headers["x-correlation-id"] == "order:7"
    assert as_json(response)["correlation_id"] == "order:7"
    found = as_json(await site.get("/jobs", params={"correlation_id": "order:7"}))["jobs"]
    assert [job["id"] for job in found] == [as_json(response)["job_id"]]


async def test_an_unsafe_correlation_id_is_replaced(site: Site) -> None:
    response = await site.post("/commands/run.echo", json={"text": "a"}, headers={"X-Correlation-Id": "a'; drop --"})
    assert response.headers["x-correlation-id"] == as_json(response)["correlation_id"] != "a'; drop --"


async def test_options_reach_the_job(site: Site) -> None:
    response = await site.post("/commands/run.echo?priority=5&delay_s=3600", json={"text": "later"})
    job = as_json(await site.get(as_json(response)["location"]))
    assert (job["state"], job["priority"]) == ("queued", 5)
    assert job["not_before"] > job["recorded_at"]


async def test_a_command_whose_unique_key_is_active_is_skipped(site: Site) -> None:
    first = as_json(await site.post("/commands/run.held", json={"name": "a"}))
    await site.hold.begun.wait()
    second = as_json(await site.post("/commands/run.held", json={"name": "a"}))
    assert (second["state"], second["active_id"]) == ("skipped", first["job_id"])


async def test_a_message_of_a_stream_is_published(site: Site) -> None:
    response = await site.post("/commands/seen.raw", json={"who": "ann"})
    assert response.status_code == 202
    assert set(as_json(response)) == {"message_id", "address", "state", "correlation_id"}
    assert await site.hold.seen.get() == Seen(who="ann")


async def test_a_running_job_is_cancelled(site: Site) -> None:
    job_id = as_json(await site.post("/commands/run.held", json={}))["job_id"]
    await site.hold.begun.wait()
    response = await site.post(f"/jobs/{job_id}/cancel")
    assert (response.status_code, as_json(response)) == (202, {"job_id": job_id, "state": "running"})
    assert (await site.ended(job_id))["state"] == "cancelled"
    assert as_json(await site.post(f"/jobs/{job_id}/cancel"))["state"] == "cancelled"


async def test_a_queued_job_is_cancelled_and_queued_again(site: Site) -> None:
    job_id = as_json(await site.post("/commands/run.echo?delay_s=3600", json={"text": "a"}))["job_id"]
    assert as_json(await site.post(f"/jobs/{job_id}/cancel"))["state"] == "cancelled"
    response = await site.post(f"/jobs/{job_id}/retry")
    assert (response.status_code, as_json(response)["state"]) == (202, "queued")
    assert (await site.ended(job_id))["state"] == "done"


async def test_what_does_not_fit_the_state_is_409(site: Site) -> None:
    job_id = as_json(await site.post("/commands/run.echo", json={"text": "a"}))["job_id"]
    await site.ended(job_id)
    for verb in ("cancel", "retry"):
        response = await site.post(f"/jobs/{job_id}/{verb}")
        assert response.status_code == 409
        assert job_id in as_json(response)["detail"]


@pytest.mark.parametrize("path", ["/jobs/nope", "/jobs/nope/cancel", "/jobs/nope/retry"])
async def test_a_job_that_is_not_there_is_404(site: Site, path: str) -> None:
    response = await (site.get(path) if path == "/jobs/nope" else site.post(path))
    assert response.status_code == 404
    assert "nope" in as_json(response)["detail"]


async def test_an_accepted_job_that_is_not_recorded_yet_can_be_asked_for(site: Site) -> None:
    site_state = site.worker.http.site
    site_state.accepted.add("soon", "run.echo")
    assert as_json(await site.get("/jobs/soon")) == {"id": "soon", "address": "run.echo", "state": "accepted"}
    await site.post("/commands/run.echo", json={"text": "a"}, headers={"Idempotency-Key": "soon"})
    assert as_json(await site.get("/jobs/soon"))["state"] != "accepted"
    assert site_state.accepted.address_of("soon") is None


async def test_pages_hold_every_job_once(site: Site) -> None:
    posted = [
        as_json(await site.post("/commands/run.echo?delay_s=3600", json={"text": str(n)}))["job_id"] for n in range(5)
    ]
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(4):
        page = as_json(await site.get("/jobs", params={"limit": 2, **({"cursor": cursor} if cursor else {})}))
        assert len(page["jobs"]) <= 2
        seen += [job["id"] for job in page["jobs"]]
        if (cursor := page["next"]) is None:
            break
        await site.post("/commands/run.echo?delay_s=3600", json={"text": "in between"})
    assert seen == posted[::-1]
    assert cursor is None


async def test_a_list_is_filtered_and_light(site: Site) -> None:
    done = as_json(await site.post("/commands/run.echo", json={"text": "a"}))["job_id"]
    await site.ended(done)
    await site.post("/commands/run.echo?delay_s=3600", json={"text": "b"})
    for params, count in (
        ({"state": "done"}, 1),
        ({"state": ["done", "queued"]}, 2),
        ({"address": "run.echo"}, 2),
        ({"address": "run.held"}, 0),
    ):
        jobs = as_json(await site.get("/jobs", params=params))["jobs"]
        assert len(jobs) == count, params
        assert not any({"command", "result", "checkpoint", "traceback"} & set(job) for job in jobs)


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "state=nope", "cursor=nope", "address=%00"])
async def test_a_wrong_filter_is_refused(site: Site, query: str) -> None:
    response = await site.get(f"/jobs?{query}")
    assert response.status_code == (400 if "%00" in query else 422)
    said = as_json(response)
    assert query.partition("=")[0] in str(said["faults"]) or response.status_code == 400


async def test_workers_and_modules_are_listed(site: Site) -> None:
    [worker] = as_json(await site.get("/workers"))
    assert (worker["http"], worker["modules"]) == (site.worker.http.address, ["probe"])
    [module] = as_json(await site.get("/modules"))
    assert [route["address"] for route in module["routes"]] == ["run.echo", "run.held", "seen.raw"]


async def test_a_draining_worker_takes_nothing_new(site: Site) -> None:
    site.worker.supervisor.enter(Phase.DRAINING)
    response = await site.post("/commands/run.echo", json={"text": "a"})
    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert "draining" in as_json(response)["detail"]
    assert (await site.get("/jobs")).status_code == 200
    ready = await site.get("/health/ready")
    assert (ready.status_code, as_json(ready)["phase"]) == (503, "draining")
