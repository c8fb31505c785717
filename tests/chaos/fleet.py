"""The worker processes: started, hit, replaced, and at last asked to end."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from runtime import exits
from tests.chaos.network import Network

ORDERLY = (exits.DONE, exits.CUT)


class Member:
    """One process, on a network of its own."""

    def __init__(self, process: asyncio.subprocess.Process, network: Network) -> None:
        self.process = process
        self.network = network

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, signum: signal.Signals) -> None:
        """A no-op when it has ended."""
        if self.process.returncode is None:
            self.process.send_signal(signum)

    async def began(self) -> bool:
        """Returns once it works; False: it ended before that."""
        assert self.process.stdout is not None
        return bool(await self.process.stdout.readline())


class Fleet:
    """`options` are those of a worker on a network. `faults` are ends that nobody asked for."""

    def __init__(self, options: Callable[[Network], list[str]], networks: Sequence[Network], log: Path) -> None:
        self._options = options
        self._free = list(reversed(networks))
        self._log = log.open("ab")
        self.members: list[Member] = []
        self.faults: list[str] = []
        self.left: set[int] = set()
        """Pids of those that have left in an orderly way, and so hold nothing."""

    @property
    def room(self) -> bool:
        """There is a network for one more."""
        return bool(self._free)

    async def start(self) -> None:
        network = self._free.pop()
        command = [sys.executable, "-m", "tests.kit.stream_worker", *self._options(network)]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=self._log)
        self.members.append(Member(process, network))

    async def end_one(self, number: int, signum: signal.Signals) -> None:
        """Returns when it has ended."""
        member = self.members[number]
        member.send(signum)
        code = await member.process.wait()
        self.members.remove(member)
        self._free.append(member.network)
        if code == exits.DONE:  # another code may mean that the ledger was out of reach when it left
            self.left.add(member.pid)

    async def replace(self, number: int, signum: signal.Signals) -> None:
        """End one in this way, and start another."""
        await self.end_one(number, signum)
        await self.start()

    async def revive(self) -> int:
        """Start another for each that ended by itself, as whoever runs workers does: one that starts while something
        is down says so and ends. Returns how many."""
        ended = [member for member in self.members if member.process.returncode is not None]
        for member in ended:
            self.members.remove(member)
            if await member.began():
                self.faults.append(f"worker {member.pid} ended by itself with {member.process.returncode}")
            self._free.append(member.network)
            await self.start()
        return len(ended)

    async def end(self) -> None:
        """Ask all to stop, once they have begun; returns when they have ended."""
        await self.revive()
        for member in self.members:
            await member.began()
            member.send(signal.SIGTERM)
        for member in self.members:
            code = await member.process.wait()
            if code not in ORDERLY:
                self.faults.append(f"worker {member.pid} was asked to end, and ended with {code}")
            self.left.add(member.pid)
        self._log.close()

    def kill(self) -> None:
        """Whoever is left: a clean-up."""
        for member in self.members:
            if member.process.returncode is None:
                member.process.kill()
