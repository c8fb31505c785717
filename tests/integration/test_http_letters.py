"""Dead letters and partitions over HTTP, and the command line's way to them where there is no ledger to open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import BadInput, NotFound
from contracts.message import Partition
from contracts.ports.ledger import DeadLetter, LetterFilter
from runtime.cli import workers
from runtime.cli.letters import all_of, found
from runtime.cli.remote import Remote
from runtime.cli.remote_letters import RemoteLetters
from tests.integration.http_site import Site, running

pytestmark = [pytest.mark.anyio, pytest.mark.integration]


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    async with running(database_url, tmp_path) as site:
        yield site


@pytest.fixture
def remote(site: Site) -> RemoteLetters:
    return RemoteLetters(Remote(site.worker.http.address))


def letter(id_: str, **given: Any) -> DeadLetter:
    fields = {"address": "seen.raw", "group": "elsewhere", "reason": "permanent", "body": b'{"who": "me"}'}
    return DeadLetter(**{"id": id_, "partition": 0, "position": 1, **fields, **given})


async def bury(site: Site, *letters: DeadLetter) -> None:
    await site.worker.adapters.ledger.dead_letters.bury(letters)


async def test_letters_are_listed_by_pages_and_filters(site: Site) -> None:
    await bury(site, *(letter(f"m{number}", headers={"n": str(number)}) for number in range(3)))
    await bury(site, letter("other", reason="undecodable", error="no\nsuch"))
    page = (await site.get("/dead-letters", params={"limit": 3})).json()
    assert [one["id"] for one in page["letters"]] == ["other", "m2", "m1"]
    assert (page["letters"][0]["error"], "body" in page["letters"][0]) == ("no", False)
    rest = (await site.get("/dead-letters", params={"limit": 3, "cursor": page["next"]})).json()
    assert ([one["id"] for one in rest["letters"]], rest["next"]) == (["m0"], None)
    filters: tuple[tuple[dict[str, Any], list[str]], ...] = (
        ({"reason": "undecodable"}, ["other"]),
        ({"header": "n=1"}, ["m1"]),
        ({"id": ["m0", "m2"]}, ["m2", "m0"]),
        ({"group": "none"}, []),
        ({"until": "2020-01-01T00:00:00Z"}, []),
        ({"since": "2020-01-01T00:00:00Z", "address": "seen.raw", "limit": 1}, ["other"]),
    )
    for query, ids in filters:
        found_ = (await site.get("/dead-letters", params=query)).json()["letters"]
        assert [one["id"] for one in found_] == ids, query


@pytest.mark.parametrize("query", ["header=n", "since=2020-01-01T00:00:00", "limit=0", "cursor=x", "until=soon"])
async def test_what_is_wrong_with_a_filter_is_told(site: Site, query: str) -> None:
    response = await site.get(f"/dead-letters?{query}")
    assert response.status_code == 422
    assert response.json()["faults"][0].startswith(query.partition("=")[0])


async def test_one_is_shown_whole_when_it_is_clear_which(site: Site) -> None:
    await bury(site, letter("one", headers={"a": "b"}), letter("two"), letter("two", group="another"))
    shown = (await site.get("/dead-letters/one")).json()
    assert (shown["body"], shown["headers"], shown["position"]) == ({"who": "me"}, {"a": "b"}, "1")
    assert (await site.get("/dead-letters/none")).status_code == 404
    assert (await site.get("/dead-letters/two")).status_code == 409
    assert (await site.get("/dead-letters/two", params={"group": "another"})).json()["group"] == "another"


async def test_what_no_module_here_takes_is_hidden(site: Site) -> None:
    await bury(site, letter("strange", address="people.raw", body=b'{"name": "Ann"}'))
    assert "Ann" not in (await site.get("/dead-letters/strange")).text
    assert (await site.get("/dead-letters/strange", params={"reveal": "true"})).json()["body"] == {"name": "Ann"}


async def test_they_are_replayed_and_dropped_by_their_names(site: Site) -> None:
    await bury(site, letter("again"), letter("worn", replays=2), letter("useless"))
    names = [{"id": id_, "address": "seen.raw", "group": "elsewhere"} for id_ in ("again", "worn", "away")]
    said = (await site.post("/dead-letters/replay", json={"letters": names, "most_replays": 2})).json()
    assert [one["became"] for one in said] == ["parked", "too often", "gone"]
    names = [{"id": id_, "address": "seen.raw", "group": "elsewhere"} for id_ in ("useless", "away")]
    assert (await site.post("/dead-letters/drop", json={"letters": names})).json() == {"dropped": 1}
    left = await site.worker.adapters.ledger.dead_letters.list(LetterFilter())
    assert [one.id for one in left] == ["worn"]
    for wrong in ({}, {"letters": [{"id": "x"}]}, {"letters": names, "most_replays": 0}, {"letters": names * 101}):
        assert (await site.post("/dead-letters/replay", json=wrong)).status_code == 422


async def test_a_replayed_letter_comes_to_its_route(site: Site) -> None:
    await bury(site, letter("back", group="probe"))
    names = [{"id": "back", "address": "seen.raw", "group": "probe"}]
    assert (await site.post("/dead-letters/replay", json={"letters": names})).json()[0]["became"] == "parked"
    assert (await site.hold.seen.get()).who == "me"


async def test_the_command_line_looks_after_them_by_a_worker(site: Site, remote: RemoteLetters) -> None:
    await bury(site, *(letter(f"m{number:03}", position=number) for number in range(205)))
    chosen = await all_of(remote, LetterFilter(group="elsewhere"))
    assert [one.id for one in chosen] == [f"m{number:03}" for number in range(205)]
    assert len(await remote.list(LetterFilter(limit=203))) == 203
    one = await found(remote, "m007", address=None, group=None)
    assert (await remote.shown(one, {}, reveal=False)).body == {"who": "me"}
    with pytest.raises(BadInput):
        await found(remote, "m00", address=None, group=None)
    with pytest.raises(NotFound, match="needs the ledger itself"):
        await remote.whole(one)
    assert await remote.replay(chosen[:2], most=3) == ["parked", "parked"]
    assert await remote.drop(chosen[:3]) == 1


async def test_who_holds_what_is_told_by_a_worker(site: Site) -> None:
    ledger = site.worker.adapters.ledger
    await ledger.partitions.take("elsewhere", Partition("other.raw", 0), worker_id="died", incarnation="i")
    [worker] = (await site.get("/workers")).json()
    assert {(one["group"], one["address"]) for one in worker["partitions"]} == {("probe", "seen.raw")}
    known = (await site.get("/partitions")).json()
    assert [one["address"] for one in known if not one["held"]] == ["other.raw"]
    fleet = await workers.told_by(Remote(site.worker.http.address))
    assert [one.id for one in fleet.workers] == [worker["id"]]
    assert [one.worker_id for one in fleet.unheld] == ["died"]
