"""How keys in Redis are named, and entry ids as positions."""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

PREFIX = "millrace:"

SEQ_BITS = 64
_SEQ = (1 << SEQ_BITS) - 1


def stream_of(address: str, index: int, partitions: int) -> str:
    """`orders:0` and so on; the bare `orders` is one partition more, after the others."""
    return address if index == partitions else f"{address}:{index}"


def partition_of(key: str, partitions: int) -> int:
    """CRC-32 (that of zlib) of the key in UTF-8, modulo the number of partitions: the same in every language."""
    return crc32(key.encode(errors="surrogatepass")) % partitions


def about(address: str) -> str:
    """A hash: how many `partitions` the address has."""
    return f"{PREFIX}{{{address}}}:about"


def group_about(address: str, group: str) -> str:
    """A hash: the id of the `ledger` that the group's positions are kept in."""
    return f"{PREFIX}{{{address}}}:group:{group}"


def members(address: str, group: str) -> str:
    """A sorted set: who lives, until when by the server's clock."""
    return f"{PREFIX}{{{address}}}:members:{group}"


def news(address: str, group: str) -> str:
    """A stream of one entry: something about the members or their partitions changed."""
    return f"{PREFIX}{{{address}}}:news:{group}"


def lease(stream: str, group: str) -> str:
    """A hash: `owner`, `until`, `epoch`, and `made`, the incarnation that the group was made on."""
    return f"{PREFIX}{{{stream}}}:lease:{group}"


def token(stream: str, group: str) -> str:
    """What only the owner knows; it changes with the owner and with nothing else, so it can be watched."""
    return f"{PREFIX}{{{stream}}}:token:{group}"


def made(stream: str) -> str:
    """The incarnation of the stream."""
    return f"{PREFIX}{{{stream}}}:made"


def position_of(entry_id: bytes) -> int:
    """`1700000000000-3` as one whole number: the milliseconds, then 64 bits of the sequence number."""
    ms, _, seq = entry_id.partition(b"-")
    return (int(ms) << SEQ_BITS) | int(seq)


def positions_of(entry_ids: Iterable[bytes]) -> list[int]:
    """The same for many, whose milliseconds are often those of the one before."""
    positions = []
    last_ms, base = b"", 0
    for entry_id in entry_ids:
        ms, _, seq = entry_id.partition(b"-")
        if ms != last_ms:
            last_ms, base = ms, int(ms) << SEQ_BITS
        positions.append(base | int(seq))
    return positions


def id_of(position: int) -> str:
    """The entry id of a position."""
    return f"{position >> SEQ_BITS}-{position & _SEQ}"


def id_before(position: int) -> str:
    """The last id that is below `position`."""
    return id_of(max(position - 1, 0))
