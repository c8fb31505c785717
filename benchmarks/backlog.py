"""One worker against a backlog: `python -m benchmarks.backlog URL COUNT MODULE [KIND]`; prints messages a second.

The same for every contestant. On an emptied Redis `MODULE` puts its messages there (`fill(count)`), and then its worker
is started as its documentation says (`python *WORKER`) and ended when every message was started. Both find in the
environment where Redis is, which kind of the contestant they are, and where a handler writes down that it was started.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from tempfile import NamedTemporaryFile

from redis import Redis

from benchmarks.started import SIZE_BYTES, STARTED, Started

URL, KIND = "BENCH_URL", "BENCH_KIND"
END_WAIT_S = 20.0


def main(url: str, count: int, module: str, kind: str) -> None:
    """(messages - 1) / (last start - first start)."""
    Redis.from_url(url).flushall()
    with NamedTemporaryFile(prefix="millrace-bench-") as file:
        file.write(bytes(count * SIZE_BYTES))
        file.flush()
        os.environ |= {URL: url, KIND: kind, STARTED: file.name}
        contestant = importlib.import_module(module)
        contestant.fill(count)
        worker = subprocess.Popen([sys.executable, *contestant.WORKER], stdout=sys.stderr, start_new_session=True)
        started = Started(file.name)
        try:
            started.wait(lambda: worker.poll() is None)
        finally:
            _end(worker)
    print(json.dumps({"messages_per_s": started.per_s()}))


def _end(worker: subprocess.Popen[bytes]) -> None:
    """With the processes that it started."""
    worker.send_signal(signal.SIGTERM)
    try:
        worker.wait(END_WAIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4] if len(sys.argv) > 4 else "")
