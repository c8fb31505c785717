"""`python -m benchmarks.traces`: what traces cost while they are off, against code without any, and while they are on.

The code without any has two turns in each cycle: what lies between them (`again_per_absent`) is noise.
"""

from __future__ import annotations

import argparse
import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks import rounds
from benchmarks.fresh import database
from benchmarks.server import postgres

OFF, ON = "off, and no tracing code", "on"
HOW = {OFF: "noop", ON: "otlp"}
KINDS = {"plain": (1000, "a handler that does nothing"), "sql": (50, "one statement in a transaction")}
"""Messages in a block, and the title."""


async def main(of: int) -> None:
    with sink() as (endpoint, taken_bytes):
        async with postgres() as url, database(url, migrated=True) as db:
            for kind, (block, title) in KINDS.items():
                ours = ["-m", "benchmarks.millrace_traces", db, str(block), kind]
                contestants = {name: [*ours, how, endpoint] for name, how in HOW.items()}
                figures = await asyncio.to_thread(rounds.run, contestants, rounds=of, warm_up=False)
                print(f"messages in memory, one a call: {title}")
                print(rounds.table(figures))
        assert sum(taken_bytes), "nothing was exported while traces were on"


@contextmanager
def sink() -> Iterator[tuple[str, list[int]]]:
    """A collector that counts and forgets: its address, and the size of each request."""
    taken: list[int] = []

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(len(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", taken
        finally:
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(main(given.rounds))
