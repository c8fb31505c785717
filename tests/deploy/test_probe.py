"""`runtime.probe`: what a container's health check says of a worker, of a job, and of what hangs."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime import probe
from tests.kit.services.ports import Port


@contextmanager
def answering(status: int) -> Iterator[int]:
    """An HTTP server that says that to every request, by its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(self.path.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def nobody() -> Iterator[dict[str, str]]:
    """Settings of a process that serves no HTTP."""
    port = Port()
    yield {"HTTP_PORT": str(port.number)}
    port.release()


@pytest.mark.parametrize(("status", "well"), [(200, True), (503, False)])
def test_a_worker_is_well_once_it_has_begun(status: int, well: bool) -> None:
    with answering(status) as port:
        everywhere = "0.0.0.0"  # noqa: S104 - as the image sets it
        assert probe.probe({"HTTP_PORT": str(port), "HTTP_HOST": everywhere}) == (well, "/health/startup")


def test_what_a_killed_job_left_says_nothing_of_a_worker_that_answers(tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text("{}")
    os.utime(old, (0, 0))
    with answering(200) as port:
        assert probe.probe({"HTTP_PORT": str(port), "HEALTH_FILE": str(old)})[0]


def test_a_job_is_well_while_it_writes_its_file(tmp_path: Path, nobody: dict[str, str]) -> None:
    file = tmp_path / "health" / "1.json"
    file.parent.mkdir()
    file.write_text("{}")
    assert probe.probe({**nobody, "MILLRACE_HOME": str(tmp_path)})[0]
    os.utime(file, (0, 0))
    well, told = probe.probe({**nobody, "MILLRACE_HOME": str(tmp_path)})
    assert not well
    assert str(file) in told


def test_nothing_at_all_is_not_well(tmp_path: Path, nobody: dict[str, str]) -> None:
    well, told = probe.probe({**nobody, "MILLRACE_HOME": str(tmp_path)})
    assert not well
    assert "no HTTP" in told
    assert "1.json" in told
