"""What is kept between versions, in the forms in which versions have written it: `python -m tests.contracts_agree.kept`
adds today's, where it has changed.

Whatever a version has written lies in somebody's ledger, cache or group when the next one comes, and also when the one
before comes back. So a form that was once written stays in `kept.json`, and is read ever after.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from adapters.bus.kafka.sharing import Claim
from contracts.batch_etl import BatchEtlReport, FileReport
from contracts.data_quality import CheckResult, QualityReport
from contracts.job import Progress
from contracts.message import Envelope, Partition
from contracts.ports.history import Stretch
from contracts.stream_replay import StreamReplayReport
from modules.api_gateway.serving import Entry
from modules.batch_etl.run import Checkpoint as EtlCheckpoint
from modules.data_quality.run import Checkpoint as QualityCheckpoint
from modules.metric_aggregator.journal import Header
from modules.stream_ingest.buffer import Piece
from modules.stream_replay.run import Checkpoint as ReplayCheckpoint

KEPT = Path(__file__).with_name("kept.json")
AT = datetime(2026, 1, 5, 10, 0, 0, 250_000, tzinfo=UTC)


class Form(msgspec.Struct, frozen=True):
    """A value with everything in it, as it is written. Arrays are msgpack here, objects JSON or msgpack."""

    sample: Any
    written: Literal["json", "msgpack"]

    @property
    def type(self) -> type[Any]:
        return type(self.sample)

    def encoded(self) -> str:
        """As text: msgpack in hexadecimal."""
        if self.written == "json":
            return msgspec.json.encode(self.sample).decode()
        return msgspec.msgpack.encode(self.sample).hex()

    def decoded(self, text: str, *, type: Any = None) -> Any:
        type = self.type if type is None else type
        if self.written == "json":
            return msgspec.json.decode(text, type=type)
        return msgspec.msgpack.decode(bytes.fromhex(text), type=type)

    def again(self, value: Any) -> str:
        """Plain data as text."""
        return msgspec.json.encode(value).decode() if self.written == "json" else msgspec.msgpack.encode(value).hex()


FORMS: dict[str, Form] = {
    "a message in the outbox, or parked": Form(
        Envelope(
            id="0a1b",
            address="orders.raw",
            body=b'{"number": 1}',
            key="ada",
            headers={"source-id": "f00d"},
            correlation_id="c0de",
            published_at=AT,
            not_before=AT,
            priority=2,
        ),
        "msgpack",
    ),
    "the progress of a job": Form(Progress(rows=1, bytes=2, total_rows=3, total_bytes=4, message="half"), "json"),
    "a checkpoint of batch_etl": Form(
        EtlCheckpoint(
            done=["2026-01-05"],
            report=BatchEtlReport(
                dataset="trips",
                table="public.trips",
                read=10,
                loaded=9,
                rejected=1,
                files=(FileReport(path="a.csv", bytes=100, read=10, rejected=1),),
                rejected_by_reason={"type": 1},
            ),
        ),
        "json",
    ),
    "a checkpoint of data_quality": Form(
        QualityCheckpoint(
            report=QualityReport(
                suite="trips",
                date=date(2026, 1, 5),
                verdict="warn",
                passed=1,
                warned=1,
                failed=0,
                errors=0,
                seconds=0.5,
                checks=(
                    CheckResult(
                        source="trips",
                        name="ids",
                        check="unique",
                        verdict="warn",
                        value=3.0,
                        of=10,
                        warn="> 0",
                        why="!",
                    ),
                ),
            )
        ),
        "json",
    ),
    "a checkpoint of stream_replay": Form(
        ReplayCheckpoint(
            stretches=(Stretch(partition=Partition("a", 1), incarnation="5eed", first=10, end=20, oldest_at=AT),),
            report=StreamReplayReport(topic="a", into="b", messages=3, first_at=AT, last_at=AT, by_partition={"1": 3}),
        ),
        "json",
    ),
    "rows that wait for their file of a lake": Form(Piece("10", "11", AT, 1, [b"{}", b'{"a": 1}']), "msgpack"),
    "the head of a piece of windows": Form(Header("5eed", (3, 2, 1)), "msgpack"),
    "a cached answer of api_gateway": Form(Entry(b"[]", '"5eed"', "next"), "msgpack"),
    "what a member of a Kafka group holds": Form(Claim(generation=7, partitions=(0, 2)), "msgpack"),
}


def kept() -> dict[str, list[str]]:
    """By kind, the oldest first."""
    return msgspec.json.decode(KEPT.read_bytes(), type=dict[str, list[str]]) if KEPT.exists() else {}


def renew() -> list[str]:
    """Add what is written today; returns the kinds whose form has changed."""
    known = kept()
    changed = [name for name, form in FORMS.items() if form.encoded() not in known.get(name, ())[-1:]]
    for name in changed:
        known.setdefault(name, []).append(FORMS[name].encoded())
    KEPT.write_bytes(msgspec.json.format(msgspec.json.encode(known), indent=2) + b"\n")
    return changed


if __name__ == "__main__":
    print("\n".join(renew()) or "every form is kept")
