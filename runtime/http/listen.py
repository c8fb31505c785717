"""Taking the address, before anything else starts: a taken port is said at once, and clearly."""

from __future__ import annotations

import errno
import functools
import ipaddress
import socket

from contracts.errors import Faults

BACKLOG = 128
LONGEST = 100
"""Characters of an address, its zone included: what is longer is none, and is not remembered."""


def bound(host: str, port: int, *, setting: str) -> socket.socket:
    """A listening socket; port 0 takes a free one. Connections made from now on wait until they are served.

    Raises `Faults` that name the port, and `setting`, where another one is chosen.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise Faults("http", [_why(error, host, port, setting)]) from None
    # Its connections inherit it; asyncio sets it for sockets alone that it makes itself. Without it the second part of
    # an answer waits for the first one's acknowledgement, which takes up to 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def url_of(listening: socket.socket) -> str:
    """Where it answers, as a URL; one that listens everywhere is named by this machine's name."""
    host, port = listening.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(address: str | None) -> bool:
    """Whether an IP address is this machine talking to itself; what is unknown is not."""
    return address is not None and len(address) <= LONGEST and _is_loopback(address)


@functools.lru_cache(maxsize=256)
def _is_loopback(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def _why(error: OSError, host: str, port: int, setting: str) -> str:
    if isinstance(error, socket.gaierror):
        return f"HTTP_HOST {host!r} is not an address of this machine: {error.strerror}"
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"port {port} on {host} is taken by another process; "
                f"end it, set {setting} to another port, or to 0 for a free one"
            )
        case errno.EACCES:
            return f"port {port} on {host} needs rights that this user has not; set {setting} to 1024 or above"
        case errno.EADDRNOTAVAIL:
            return f"HTTP_HOST {host!r} is not an address of this machine"
    return f"port {port} on {host} can't be listened on: {error.strerror}; see HTTP_HOST and {setting}"
