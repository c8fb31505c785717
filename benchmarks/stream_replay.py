"""`python -m benchmarks.stream_replay`: a topic into another one, against a transactional loop by hand."""

from __future__ import annotations

import argparse
import asyncio

from benchmarks import rounds
from benchmarks.server import postgres
from benchmarks.streams import filled
from tests.kit import services

OURS, HAND = "millrace stream_replay", "by hand, Kafka's transactions"


async def main(count: int, of: int) -> None:
    """Each reads the topic from its beginning, into a topic of its own."""
    with services.own(services.start_kafka) as kafka:
        async with postgres() as url, filled(kafka, count) as topic:
            contestants = {
                OURS: ["-m", "benchmarks.fresh", url, "benchmarks.millrace_replay", kafka.url, topic, str(count)],
                HAND: ["-m", "benchmarks.baselines.replay_loop", kafka.url, topic, str(count)],
            }
            figures = await asyncio.to_thread(rounds.run, contestants, rounds=of)
    print(rounds.table(figures))
    print(rounds.ratio(figures, OURS, HAND, "messages_per_s"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(main(given.count, given.rounds))
