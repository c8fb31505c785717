"""Links to local files, as a stranger opens them at a worker's HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from contracts.file_link import SHORTEST_KEY
from tests.conformance.files_suite import exercise_files, names
from tests.integration.http_site import Site, as_json, running

pytestmark = [pytest.mark.anyio, pytest.mark.integration]

KEY = "k" * SHORTEST_KEY


async def test_links_are_served_to_whoever_has_them(database_url: str, tmp_path: Path) -> None:
    async with running(database_url, tmp_path, FS_LOCAL_LINK_KEY=KEY, FS_LOCAL_URL="http://files.example/") as site:
        files = site.worker.adapters.files
        await site.worker.adapters.open("files")

        async def fetch(url: str) -> tuple[int, bytes]:
            assert url.startswith("http://files.example/files/")
            answer = await site.get(_at(url))
            return answer.status_code, answer.content

        await exercise_files(files, fetch)

        large = bytes(range(256)) * 20_000
        await files.write("d/large ü.csv", large)
        url = await files.link("d/large ü.csv", expires_s=60)
        answer = await site.get(_at(url), headers={"Host": "anything.example", "X-Forwarded-For": "203.0.113.9"})
        assert (answer.status_code, answer.content) == (200, large)
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''large%20%C3%BC.csv"
        assert answer.headers["content-length"] == str(len(large))
        assert (await site.client.head(_at(url))).status_code == 200
        for way in (url.replace("files/d/", "files/d/%2E%2E/d/"), url.replace("large", "../large"), url + "0"):
            assert (await site.get(_at(way))).status_code in (403, 404), way
        assert KEY not in "".join(site.log_lines("request"))
        assert "signature" not in "".join(site.log_lines("request"))
        await _refuses(site)
        await files.delete_many(await names(files))


async def _refuses(site: Site) -> None:
    files = site.worker.adapters.files
    await files.write("x", b"x")
    url = _at(await files.link("x", expires_s=1))
    query = dict(part.split("=") for part in urlsplit(url).query.split("&"))
    later = url.replace(query["expires"], str(int(query["expires"]) + 1))
    for wrong in (later, url.partition("?")[0], url[:-1], url.replace("signature=", "signature=é"), "/files/"):
        answer = await site.get(wrong)
        assert answer.status_code in (403, 404), wrong
        assert as_json(answer)["status"] == answer.status_code
    assert (await site.post(url, json={})).status_code == 405

    async def expired() -> bool:
        answer = await site.get(url)
        return answer.status_code == 403 and "has expired" in answer.text

    async with asyncio.timeout(5):
        while not await expired():
            await site.worker.clock.sleep(0.1)


async def test_without_a_key_there_are_no_links(database_url: str, tmp_path: Path) -> None:
    async with running(database_url, tmp_path) as site:
        answer = await site.get("/files/x?expires=1&signature=2")
        assert answer.status_code == 404
        assert "FS_LOCAL_LINK_KEY" in as_json(answer)["detail"]


def _at(url: str) -> str:
    """What of a URL the worker's own address stands before."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"
