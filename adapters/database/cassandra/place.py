"""Where Cassandra is, how one logs in, and what bounds its use."""

from __future__ import annotations

import msgspec

from adapters.tls import Tls
from contracts.ports.secrets import Credential


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A keyspace of a cluster. It is shown without user and password."""

    hosts: tuple[str, ...]
    """Contact points, HOST:PORT each; the others are learned from them."""
    keyspace: str
    datacenter: str | None = None
    """The nearest one, whose nodes are asked; None: that of the first contact point that answers."""
    user: str | None = None
    password: Credential | None = None
    """Looked up for each connection."""
    tls: Tls | None = None
    consistency: str = "LOCAL_QUORUM"
    """Of reads and writes. Conditional statements agree within the nearest data centre where this does (`LOCAL_…`),
    else across all."""

    @property
    def shown(self) -> str:
        return f"cassandra://{','.join(self.hosts)}/{self.keyspace}"

    @property
    def endpoints(self) -> list[tuple[str, int]]:
        """Hosts and ports apart."""
        parts = [host.rpartition(":") for host in self.hosts]
        return [(name.strip("[]"), int(port)) for name, _, port in parts]

    def __repr__(self) -> str:
        return f"Place({self.shown})"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes and deadlines."""

    open_timeout_s: float = 10.0
    """How long `open` tries again, for a server that is coming up."""
    attempt_timeout_s: float = 30.0
    """For each of these attempts, whatever is slow in it."""
    connect_timeout_s: float = 5.0
    """For each step of a connection."""
    request_timeout_s: float = 10.0
    """For each request: a statement, or a further page of its result."""
    check_timeout_s: float = 2.0
    in_flight: int = 256
    """Requests that wait for an answer; a connection of the driver has room for 32,768."""
    turn_timeout_s: float = 30.0
    """How long a request waits while so many are in flight."""
    side_by_side: int = 32
    """Rows of one bulk that are in flight: sending so many in turn is what the loop is held up by at a time."""
    prepared: int = 500
    """Statements that are kept prepared, the latest used."""
    page_rows: int = 1000
    """Rows of a page where nobody says how many."""
