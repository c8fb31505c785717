"""Turns at changing what is in a directory, between threads and processes. Blocking code."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from contracts.errors import Faults, Transient

WAIT_S = 10.0
POLL_S = 0.002
_NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
"""What disks say (NFS among them) that can't lock a directory."""


@contextmanager
def turn(directory: int, *, needed: bool = False) -> Iterator[None]:
    """Nobody else is in such a block for the same directory meanwhile. A turn takes one change of a name, so waiting
    for so long as `WAIT_S` means that something is wrong: `Transient`.

    On a disk without locks there are no turns, unless they are `needed`: then `Faults`.
    """
    # A file of its own: one that is shared with another turn would have that turn's lock.
    own = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        try:
            _lock(own)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            if needed:
                raise Faults(
                    "files",
                    [f"this disk can't lock a directory ({error.strerror}), so nothing can be replaced by version"],
                ) from error
        yield
    finally:
        os.close(own)


def _lock(file: int) -> None:
    until = time.perf_counter() + WAIT_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.perf_counter() > until:
                raise Transient(
                    f"another program has locked a directory of the files root for more than {WAIT_S:g} s: end it"
                ) from None
            threading.Event().wait(POLL_S)
