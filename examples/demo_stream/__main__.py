"""`python -m examples.demo_stream`: start a worker, send it rides, watch its windows, and account for every ride."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from contracts.errors import BadInput, MillraceError
from contracts.ports import Clock
from examples.demo_stream.account import Sending, accounted, summary
from examples.demo_stream.rides import Rides
from examples.demo_stream.screen import Screen
from examples.demo_stream.watching import Seen, Watch
from examples.demo_stream.worker import environment, started
from runtime import exits, settings
from runtime.cli.remote import Remote
from runtime.wiring import Adapters

LOOK_EVERY_S = 0.5
SETTLE_WAIT_S = 60.0
"""Windows close some seconds after the last ride; more than that is a fault."""


class Demo:
    """One run. `stopping` is set by Ctrl-C: no more rides are sent, and windows need not close."""

    def __init__(self, asked: argparse.Namespace, adapters: Adapters, screen: Screen) -> None:
        self.stopping = asyncio.Event()
        self._asked = asked
        self._adapters = adapters
        self._clock: Clock = adapters.clock
        self._screen = screen
        self._sending = Sending()
        self._sent_all = False

    async def run(self) -> int:
        """The exit code: 0 when every ride is accounted for and the worker ended well."""
        run = self._clock.new_id()
        self._screen.tell("starting a worker with stream_ingest and metric_aggregator")
        async with started(environment(os.environ), self._clock, self._screen.tell) as worker:
            await self._adapters.open("db")
            watch = Watch(self._adapters.db, worker.url, self._clock, run)
            token = await self._adapters.secrets.get("HTTP_TOKEN")
            with self._screen:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._send(Remote(worker.url, token), Rides(run, self._asked.seed)))
                    seen = await self._watch(watch)
            self._screen.tell("draining the worker")
        self._screen.tell(summary(self._sending, seen))
        if worker.exit_code != exits.DONE:
            self._screen.tell(f"the worker ended with exit code {worker.exit_code}")
        return exits.DONE if accounted(self._sending, seen) and worker.exit_code == exits.DONE else exits.FAILED

    async def _send(self, remote: Remote, rides: Rides) -> None:
        """So many a second, for so long."""
        clock, rate = self._clock, self._asked.rate
        began_at = clock.monotonic()
        for number in range(round(rate * self._asked.seconds)):
            await clock.sleep(max(0.0, began_at + number / rate - clock.monotonic()))
            if self.stopping.is_set():
                break
            ride = rides.next(clock.now())
            for time in range(1 + ride.twice):
                try:
                    options = {"key": ride.key}
                    await remote.post("rides", ride.body, message_id=ride.id, correlation_id=ride.id, options=options)
                except BadInput:
                    self._sending.refused += not time
                else:
                    self._sending.accepted += not time
                    self._sending.again += time
        self._sent_all = True

    async def _watch(self, watch: Watch) -> Seen:
        """Until nothing more is to come."""
        ends_at = None
        while True:
            seen = await watch.look()
            self._screen.show(seen, self._sending, self._doing())
            if self._sent_all:
                ends_at = ends_at or self._clock.monotonic() + SETTLE_WAIT_S
                enough = self.stopping.is_set() or not seen.open_windows
                if (enough and accounted(self._sending, seen)) or self._clock.monotonic() > ends_at:
                    return seen
            await self._clock.sleep(LOOK_EVERY_S)

    def _doing(self) -> str:
        if self.stopping.is_set():
            return "ending"
        return "no more rides: time goes on with the clock, windows close" if self._sent_all else "rides come"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="task demo:stream --", description=__doc__)
    parser.add_argument("--seconds", type=float, default=24.0, help="for how long rides are sent (default: 24)")
    parser.add_argument("--rate", type=float, default=40.0, help="rides a second (default: 40)")
    parser.add_argument("--seed", type=int, default=1, help="which rides are made up (default: 1)")
    asked = parser.parse_args(arguments)
    if not (asked.seconds > 0 and 0 < asked.rate <= 1000):
        parser.error("--seconds must be over 0, and --rate over 0 and at most 1000")
    code = exits.CUT
    try:
        code = asyncio.run(_whole(asked))
    except* (MillraceError, OSError) as errors:  # the worker, or what it stands on, is gone
        code = exits.FAILED
        for error in _each(errors):
            print(f"demo:stream: {error}", file=sys.stderr)
    except* (KeyboardInterrupt, asyncio.CancelledError):
        print("demo:stream: cut", file=sys.stderr)
    return code


def _each(error: BaseException) -> Iterator[BaseException]:
    """The errors of a group, however deep."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _each(inner)
    else:
        yield error


async def _whole(asked: argparse.Namespace) -> int:
    chosen = settings.load(overrides={}, environ=environment(os.environ), directory=Path.cwd())
    adapters = Adapters(chosen)
    demo = Demo(asked, adapters, Screen())
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def stop() -> None:
        if demo.stopping.is_set():
            task.cancel()
        demo.stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        return await demo.run()
    finally:
        await adapters.close()


if __name__ == "__main__":
    raise SystemExit(main())
