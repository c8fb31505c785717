"""`python -m benchmarks NAME … [--rounds N]`: benchmarks against their baselines; and what is made of measurements:
`track`, `history` and `capacity`, each with options of its own."""

from __future__ import annotations

import argparse
import subprocess
import sys

BENCHMARKS = {
    "jobs": "no-op jobs and their latency, against procrastinate",
    "start": "from the shell prompt to the first line of a job",
    "streams": "streams on Kafka, against FastStream and aiokafka by hand",
    "redis_streams": "small messages on Redis, against taskiq, arq, dramatiq, Celery, and XREADGROUP by hand",
    "event_enricher": "events looked up and sent on through the outbox, on Kafka and in memory",
    "api_gateway": "rows by key over HTTP, cached and not, against Litestar and asyncpg by hand",
    "scaling": "4 worker processes against 1, on Kafka and on Redis",
    "ingest": "events from Kafka into PostgreSQL, against COPY and ON CONFLICT by hand, and row by row",
    "windows": "count, sum and average by key and minute on Kafka, against a loop by hand, Quix, Bytewax, Faust",
    "traces": "what traces cost while they are off, against code without any, and while they are on",
    "buckets": "files in a bucket, against obstore",
    "quality": "eight checks of a million rows, against one statement by hand and Great Expectations",
    "stream_replay": "a topic into another one on Kafka, against a transactional loop by hand",
    "batch_etl": "a million-row CSV into PostgreSQL, against COPY into staging and SQL, and dlt",
}
TOOLS = {
    "track": "each module in a short form, kept with machine and commit, held against the last ones: `./task bench`",
    "history": "what was kept, in the terminal and as a page with plots",
    "capacity": "what a worker and its servers take for each event and job: the tables of docs/scale.md",
}


def main() -> int:
    """The worst exit code of the benchmarks that were run."""
    if sys.argv[1:2] and sys.argv[1] in TOOLS:
        command = [sys.executable, "-m", f"benchmarks.{sys.argv[1]}", *sys.argv[2:]]
        try:
            return subprocess.run(command, check=False).returncode
        except KeyboardInterrupt:
            return 130  # the tool has said what there is to say
    listing = "\n".join(
        [*(f"  {name:<14} {what}" for name, what in BENCHMARKS.items()), "", "and, each with options of its own:"]
        + [f"  {name:<14} {what}" for name, what in TOOLS.items()]
    )
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Measure what the documentation claims, against the best that is known.\n\n{listing}",
        epilog="example: python -m benchmarks jobs --rounds 3",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones (default: all, which takes an hour)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each contestant, in turn")
    given = parser.parse_args()
    if unknown := set(given.names) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}")
    worst = 0
    for name in given.names or BENCHMARKS:
        print(f"\n{name}: {BENCHMARKS[name]}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", "--rounds", str(given.rounds)]
        worst = max(worst, subprocess.run(command, check=False).returncode)
    return worst


if __name__ == "__main__":
    raise SystemExit(main())
