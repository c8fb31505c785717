"""Ports of loopback that stay ours: while a server is down, and before it is up."""

from __future__ import annotations

import socket
import sys

HOST = "127.0.0.1"


class Port:
    """A free port, kept until `release`.

    On Linux a socket that is bound without listening keeps it: the system gives the number to nobody who asks for any
    port, yet a server that asks for this one (with SO_REUSEADDR, as all ours do) gets it, again and again.
    """

    def __init__(self) -> None:
        self._keeper = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if sys.platform == "linux":
            self._keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._keeper.bind((HOST, 0))
        self.number: int = self._keeper.getsockname()[1]
        if sys.platform != "linux":
            self._keeper.close()

    @property
    def address(self) -> str:
        return f"{HOST}:{self.number}"

    def release(self) -> None:
        """Idempotent."""
        self._keeper.close()
