"""`python -m runtime.probe`: is this container well? Docker's health check and exec probes run it every few seconds.

A worker answers HTTP, a job process keeps a health file (`runtime.health_file`): whichever there is, is asked. Exit
code 0: it lives and has begun to work. 1: it has not, or hangs; standard output says which. It does not ask whether
dependencies are well: a restart, which is what an unhealthy container gets, would not mend them.

Only the standard library is imported, and little of it: this is a process of its own each time.
"""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from time import time  # noqa: TID251 - a file's age is told by the system's clock, which wrote it

STALE_S = 15.0
"""The file is written anew every second."""
TIMEOUT_S = 3.0
PROCESS = 1
"""A container's own, where no init comes before it; the image, which has one, sets HEALTH_FILE."""


def probe(environ: Mapping[str, str]) -> tuple[bool, str]:
    """Whether it is well, and what was found."""
    try:
        return _begun(environ)
    except (OSError, http.client.HTTPException) as error:
        no_http = f"no HTTP ({error!r})"
    # Only now: a file that a killed process left on a volume says nothing of a worker that answers.
    try:
        return _fresh(environ)
    except FileNotFoundError as error:
        return False, f"{no_http}, and no {error.filename}"


def _begun(environ: Mapping[str, str]) -> tuple[bool, str]:
    host = environ.get("HTTP_HOST") or "127.0.0.1"
    listens_everywhere = host in ("0.0.0.0", "::")  # noqa: S104 - asked for here, not listened on
    connection = http.client.HTTPConnection(
        "127.0.0.1" if listens_everywhere else host, int(environ.get("HTTP_PORT") or 8080), timeout=TIMEOUT_S
    )
    try:
        connection.request("GET", "/health/startup")
        answer = connection.getresponse()
        return answer.status == http.client.OK, answer.read(200).decode(errors="replace")
    finally:
        connection.close()


def _fresh(environ: Mapping[str, str]) -> tuple[bool, str]:
    home = Path(environ.get("MILLRACE_HOME") or ".millrace")
    file = Path(environ.get("HEALTH_FILE") or home / "health" / f"{PROCESS}.json")
    age_s = time() - file.stat().st_mtime
    return age_s < STALE_S, f"{file} was written {age_s:.0f} s ago"


if __name__ == "__main__":
    well, told = probe(os.environ)
    print(told)  # noqa: T201 - `docker inspect` shows it
    sys.exit(0 if well else 1)
