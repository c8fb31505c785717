"""PostgreSQL, Kafka, Redis and MinIO for use by hand, and Cassandra when it is named: `python -m tests.kit.services`.

They stay until Ctrl-C. Prints, for another terminal, the variables that make tests use them, so that a run starts none
of its own; and the settings by which Millrace itself does.

Example:
    ./task services:up -- redis kafka
    export MILLRACE_TEST_KAFKA=127.0.0.1:41001   (in the other terminal, as printed)
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from tests.kit.services import Cassandra, Kafka, Minio, Postgres, Redis, Service

SERVICES: dict[str, type[Cassandra] | type[Kafka] | type[Minio] | type[Postgres] | type[Redis]] = {
    "postgres": Postgres,
    "redis": Redis,
    "kafka": Kafka,
    "minio": Minio,
    "cassandra": Cassandra,
}
SETTINGS = {
    "postgres": ("DB_POSTGRES_URL",),
    "redis": ("CACHE_REDIS_URL", "MQ_REDIS_STREAM_URL"),
    "kafka": ("MQ_KAFKA_BOOTSTRAP_SERVERS",),
}
"""Files in MinIO need more than an address: a bucket."""
ONLY_BY_NAME = frozenset({"cassandra"})
"""It takes its time to start, and most of a gigabyte."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 when one of them can't be had."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.kit.services", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = f"{', '.join(SERVICES)} (default: all but {', '.join(ONLY_BY_NAME)})"
    parser.add_argument("names", nargs="*", metavar="service", help=known)
    names = parser.parse_args(arguments).names or [name for name in SERVICES if name not in ONLY_BY_NAME]
    if unknown := [name for name in names if name not in SERVICES]:
        parser.error(f"{', '.join(unknown)}: expected some of {', '.join(SERVICES)}")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    with ExitStack() as ending, suppress(KeyboardInterrupt):
        services = {name: SERVICES[name]() for name in names}
        for service in services.values():
            ending.callback(service.stop)
        ending.callback(_hear_no_more)  # runs first
        if not all(_started(service) for service in services.values()):
            return 1
        print("\n# For Millrace itself, instead:")
        for name, service in services.items():
            for key in SETTINGS.get(name, ()):
                _export(key, service.require().url)
        print("Ctrl-C ends them, with their data.", file=sys.stderr, flush=True)
        threading.Event().wait()
    return 0


def _hear_no_more() -> None:
    """A second Ctrl-C is impatience: the end that it asks for is under way."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _started(service: Service) -> bool:
    running = service.start()
    if running is None:
        print(f"{service.name} can't be had: {'; '.join(service.reasons)}. {service.remedy}", file=sys.stderr)
        return False
    print(f"{service.name}: {running.how}", file=sys.stderr)
    _export(service.variable, running.url)
    return True


def _export(variable: str, url: str) -> None:
    print(f"export {variable}={shlex.quote(url)}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
