"""Making, starting and ending a cluster's server. Every function here is called with the cluster's `lock` taken."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from adapters.database.cluster.locks import Deadline, FileLock
from adapters.database.cluster.owner import Owner
from adapters.database.cluster.places import Places
from contracts.errors import Unavailable

USER = "millrace"
DATABASE = "postgres"
INITDB_TIMEOUT_S = 120.0
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
LOG_BYTES = 10_000_000
READY = "ready"

# `initdb` guesses from the machine what is fixed here, so that a query sorts alike everywhere. The password is random:
# iterations, which slow down the guessing of a chosen one, would only slow down every connection.
INITDB = (
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
    "--set=scram_iterations=1",
)
ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "TZ": "UTC"}


def answers(places: Places) -> bool:
    """Whether a server takes connections there: one file and one socket, no process."""
    if _status(places) != READY:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(places.socket))
        except OSError:
            return False
    return True


def make(places: Places, owner: Owner, programs: Path, *, durable: bool) -> None:
    """`initdb` beside its place, then one rename: what a killed process left half made is never taken for a cluster."""
    with FileLock(places.server) as living:
        # An `initdb` whose starter was killed goes on writing for a moment.
        living.wait(deadline=Deadline(INITDB_TIMEOUT_S, waiting_for="an initdb that another process has left"))
        for half in places.home.glob("data.*.new"):
            shutil.rmtree(half, ignore_errors=True)
        for letter in places.home.glob("data.*.letter"):
            letter.unlink()
        half = places.home / f"data.{os.getpid()}.new"
        half.mkdir(mode=0o700)
        owner.give(half)
        password = secrets.token_urlsafe(32)
        _initdb(half, owner, programs, living, password=password, durable=durable)
        # Ours stand outside of what the server's user can write to: root writes to no path of its choosing.
        opened = os.open(half / "postgresql.conf", os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
        with os.fdopen(opened, "w") as config:
            config.write(f"\ninclude '../{places.settings.name}'\n")
        _write_private(places.password, password)
        half.rename(places.data)


def _initdb(half: Path, owner: Owner, programs: Path, living: FileLock, *, password: str, durable: bool) -> None:
    letter = half.with_suffix(".letter")
    _write_private(letter, password)
    owner.give(letter)
    where = (f"--pgdata={half}", f"--username={USER}", f"--pwfile={letter}")
    command: list[str | Path] = [programs / "initdb", *where, *INITDB, *([] if durable else ["--no-sync"])]
    try:
        _call(command, owner, timeout_s=INITDB_TIMEOUT_S, inherits=living.file)
    finally:
        letter.unlink()


def start(places: Places, owner: Owner, programs: Path, *, durable: bool) -> None:
    """Start a server and wait until it takes connections. One that is starting, recovering or stopping is waited for;
    what a crash left behind is cleared first. Raises `Unavailable` with the end of the server's log."""
    deadline = Deadline(START_TIMEOUT_S, waiting_for="the start of the embedded PostgreSQL")
    launched = False
    while not answers(places):
        with FileLock(places.server) as living:
            if living.take() and not answers(places):
                if launched:
                    raise _unavailable(f"the server did not start; {places.log} ends with: {_log_tail(places)}")
                # No process of a server is left, so these are a crash's: the pid in them may be anybody's by now.
                for stale in (places.pid_file, places.socket, places.socket_lock):
                    stale.unlink(missing_ok=True)
                _launch(places, owner, programs, living, durable=durable)
                launched = True
        try:
            deadline.pause()
        except TimeoutError as error:
            raise _unavailable(f"{error}; {places.log} ends with: {_log_tail(places)}") from error


def crashed(places: Places) -> bool:
    """Whether a server ended without being told to: an orderly end takes its `postmaster.pid` away."""
    with FileLock(places.server) as living:
        return living.take() and places.pid_file.exists()


def stop(places: Places, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
    """End the server, gently, then less so; returns when no process of it is left. Idempotent."""
    for kind in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        with FileLock(places.server) as living:
            if not places.home.is_dir() or living.take():
                return
            _signal(places, kind)
            try:
                living.wait(deadline=Deadline(timeout_s, waiting_for="the end of the embedded PostgreSQL"))
            except TimeoutError:
                continue
            return
    raise _unavailable(f"the server of {places.home} does not end; its log is {places.log}")


def _launch(places: Places, owner: Owner, programs: Path, living: FileLock, *, durable: bool) -> None:
    places.settings.write_text(_settings(places, durable=durable))
    places.settings.chmod(0o644)
    if places.log.exists() and places.log.stat().st_size > LOG_BYTES:
        places.log.replace(places.log.with_suffix(".log.1"))
    places.log.touch(mode=0o600)
    owner.give(places.log)
    # Its parent ends at once, so it is nobody's child, in a session of its own; the inherited lock tells that it lives.
    # (`pg_ctl` does the same, but puts paths into a shell's text unquoted.)
    launch = '"$1" -D "$2" </dev/null >>"$3" 2>&1 &'
    command: list[str | Path] = ["/bin/sh", "-c", launch, "sh", programs / "postgres", places.data, places.log]
    _call(command, owner, timeout_s=START_TIMEOUT_S, inherits=living.file)


def _call(command: list[str | Path], owner: Owner, *, timeout_s: float, inherits: int) -> None:
    program = Path(command[0]).name
    try:
        done = subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            env=ENVIRONMENT,
            pass_fds=(inherits,),
            start_new_session=True,
            umask=0o077,
            timeout=timeout_s,
            check=False,
            **owner.process(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unavailable(f"{program} could not be run: {error}") from error
    if done.returncode != 0:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise _unavailable(f"{program} ended with {done.returncode}: {said or 'it said nothing'}")


def _settings(places: Places, *, durable: bool) -> str:
    run = str(places.run).replace('"', '""').replace("'", "''")
    return "\n".join(
        [
            "# written at each start",
            "listen_addresses = ''",
            "port = 5432",
            f"unix_socket_directories = '\"{run}\"'",
            "unix_socket_permissions = 0700",
            "password_encryption = 'scram-sha-256'",
            "scram_iterations = 1",
            "max_connections = 100",
            "shared_buffers = '128MB'",
            "timezone = 'UTC'",
            "log_timezone = 'UTC'",
            "log_line_prefix = '%m [%p] %a '",
            *([] if durable else ["fsync = off", "full_page_writes = off"]),
            "",
        ]
    )


def _status(places: Places) -> str | None:
    """Line 8 of `postmaster.pid`: what the server says of itself."""
    lines = _pid_lines(places)
    return lines[7].strip() if len(lines) > 7 else None


def _pid_lines(places: Places) -> list[str]:
    try:
        return places.pid_file.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _signal(places: Places, kind: signal.Signals) -> None:
    """To the server's first process, if it is one of the data's owner (the file is the server's, not ours)."""
    lines = _pid_lines(places)
    if not lines or not lines[0].strip().isdecimal():
        return
    pid = int(lines[0])
    with suppress(OSError):
        process = Path("/proc") / str(pid)
        if process.parent.joinpath("self").exists() and process.stat().st_uid != places.data.stat().st_uid:
            return
        os.kill(pid, kind)


def _log_tail(places: Places) -> str:
    try:
        with places.log.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 2000))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return "(no log)"
    return " | ".join(lines[-8:])


def _unavailable(why: str) -> Unavailable:
    return Unavailable("embedded PostgreSQL", why)


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
