"""Rows as events: what a load has brought into the table is published in the transaction that brought it.

Which rows those are, the table itself says: all of one that was empty, else those whose keys the merge has noted. So a
row that lost to another one of its key is no event, and one that was there before is none again.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec

from contracts import sql
from contracts.dataset import Column, Dataset
from contracts.errors import BadInput
from contracts.event import Event, struct_of
from contracts.ports import Feed, Outgoing
from contracts.ports.database import Row, Tx
from modules.batch_etl.threads import in_thread

NOTED = "batch_etl_published"
ROWS = 5_000
"""That are in hand at a time."""
FAULTS_TOLD = 5


class Publisher:
    """Of one dataset."""

    def __init__(self, dataset: Dataset, event: Event, feed: Feed) -> None:
        own = {column.name: column for column in dataset.columns}
        self._dataset = dataset
        self._event = event
        self._feed = feed
        self._columns = [own[column.name] for column in event.columns if column.name in own]
        self._names = [column.source_name for column in event.columns if column.name in own]
        self._decoder = msgspec.json.Decoder(struct_of(event))
        self._personal = any(column.personal for column in (*dataset.columns, *event.columns))

    async def publish(self, tx: Tx, *, whole: bool) -> AsyncGenerator[int]:
        """Adds them to the outbox, some at a time, and says how many each time. `whole`: every row of the table. Raises
        `BadInput` for rows that are no such event, and then nothing of the load is kept."""
        query = self._query(whole=whole)
        # A session may know a statement of another dataset by the cursor's name, whose rows have other columns.
        cursor = sql.name(f"{NOTED}_{hashlib.blake2b(query.encode(), digest_size=8).hexdigest()}")
        await tx.execute(f"declare {cursor} no scroll cursor for {query}")
        while rows := await tx.fetch(f"fetch {ROWS} from {cursor}"):
            await self._feed.add(self._event.topic, await in_thread(self._messages, rows), tx=tx)
            yield len(rows)
        await tx.execute(f"close {cursor}")

    def _query(self, *, whole: bool) -> str:
        key = self._dataset.key
        wanted = [*(self._dataset.column(name) for name in key), *self._columns]
        columns = [f"{_read(column)} as c{at}" for at, column in enumerate(wanted)]
        rows = f"{sql.table(self._dataset.table)} t"
        if not whole:
            same = " and ".join(f"t.{sql.name(name)} = n.{sql.name(name)}" for name in key)
            rows += f" join {NOTED} n on {same}"
        order = [self._event.time.column] if self._event.time else []
        names = sql.names([*order, *key], of="t")
        return f"select {', '.join(columns)} from {rows} order by {names}"  # noqa: S608

    def _messages(self, rows: Sequence[Row]) -> list[Outgoing]:
        messages: list[Outgoing] = []
        faults: list[str] = []
        for row in rows:
            values = list(row.values())
            identity, fields = values[: len(self._dataset.key)], values[len(self._dataset.key) :]
            body = msgspec.json.encode(dict(zip(self._names, fields, strict=True)))
            try:
                event = self._decoder.decode(body)
            except msgspec.ValidationError as error:
                faults.append(f"{self._shown(identity)}: {error}")
                if len(faults) == FAULTS_TOLD:
                    break
                continue
            messages.append(self._message(identity, body, event))
        if faults:
            raise BadInput(
                [
                    f"dataset {self._dataset.name}: rows that are no event {self._event.name}, so nothing was loaded; "
                    "let the one declaration take what the other does:",
                    *faults,
                ]
            )
        return messages

    def _message(self, identity: Sequence[Any], body: bytes, event: Any) -> Outgoing:
        """Its source is the row as it is: loaded from another file, or another time, it is the same."""
        named = msgspec.json.encode((identity, body.decode()))
        return Outgoing(
            source_id=f"{self._dataset.name}:{hashlib.sha256(named).hexdigest()[:32]}",
            body=body,
            key=_text(getattr(event, self._event.key)) if self._event.key else None,
        )

    def _shown(self, identity: Sequence[Any]) -> str:
        return "a row" if self._personal else f"the row {', '.join(map(str, identity))}"


def note_table(dataset: Dataset) -> str:
    """Makes the table in which the merge notes the keys of what it has brought."""
    lines = [f"{sql.name(name)} {sql.column_type(dataset.column(name))}" for name in dataset.key]
    return f"create temporary table {NOTED} ({', '.join(lines)}) on commit drop"


def returned(dataset: Dataset) -> str:
    """What the merge has to return of each row beside whether it is new."""
    return "" if dataset.publish is None else f", {sql.names(dataset.key, of='present')}"


def noted(dataset: Dataset, merged: str) -> str:
    """The part of the merge that notes them."""
    if dataset.publish is None:
        return ""
    which = "" if dataset.publish.changed else " where fresh"
    names = sql.names(dataset.key)
    return f", noted as (insert into {NOTED} ({names}) select {names} from {merged}{which})"  # noqa: S608


def _read(column: Column) -> str:
    """A value that msgspec writes as the event's decoder reads it."""
    name = f"t.{sql.name(column.name)}"
    return f"{name}::text" if column.type == "uuid" else name


def _text(value: Any) -> str | None:
    """The message's key, as other modules write it: a null is none."""
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode().strip('"')
