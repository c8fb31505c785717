"""A server as a process of ours, to be killed, paused and started again, with its port and its data. Blocking code."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from adapters.database.cluster.locks import Deadline
from tests.kit.services import identity
from tests.kit.services.home import Home
from tests.kit.services.ports import Port

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 30.0
LAUNCH = 'read -r _ && exec "$@" </dev/null'
"""The server begins once its process is recorded; when we are killed before, the pipe closes and it never does."""


class DidNotStart(Exception):
    """With the end of the server's log."""


class NativeServer:
    """It is up after `start`; `kill` and `start` in turn are a crash and its recovery."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        home: Home,
        ports: Sequence[Port],
        ready: Callable[[NativeServer], bool],
        environ: Mapping[str, str] | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        self.name = name
        self.home = home
        self._command = [str(part) for part in command]
        self._ports = ports
        self._ready = ready
        self._environ = environ
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ProcessLookupError(f"{self.name} is not running: start() it first")
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has said since its last start."""
        return self.home.log.read_text(errors="replace") if self.home.log.exists() else ""

    def start(self) -> None:
        """Returns when it answers. A no-op while it runs. Raises `DidNotStart`, and has then ended it."""
        if self._process is not None:
            return
        with self.home.log.open("wb") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", LAUNCH, "sh", *self._command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.home.data,
                env=None if self._environ is None else dict(self._environ),
                start_new_session=True,  # Ctrl-C is for us, and we end it in our turn
            )
        identity.write(self.home.process, self._process.pid)
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        self._process.stdin.close()
        deadline = Deadline(self._start_timeout_s, waiting_for=f"the start of {self.name}")
        while not self._ready(self):
            try:
                if self._process.poll() is not None:
                    raise TimeoutError(f"{self.name} ended with {self._process.returncode}")
                deadline.pause()
            except TimeoutError as error:
                said = " | ".join(self.log.splitlines()[-8:])
                self.kill()
                raise DidNotStart(f"{error}; its log ends with: {said}") from error

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that takes too long; returns when it has ended. Idempotent."""
        if self._process is None:
            return
        self.resume()
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT_S)
        self.kill()

    def kill(self) -> None:
        """SIGKILL; returns when it has ended. Idempotent."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.wait()

    def restart(self) -> None:
        """An orderly end and a start; returns when it answers."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: its connections stay, and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT. A no-op when it is not paused."""
        os.kill(self.pid, signal.SIGCONT)

    def end(self) -> None:
        """For good: its data is gone afterwards, so it is not asked to save it. Idempotent."""
        self.kill()
        self.home.remove()
        for port in self._ports:
            port.release()
