"""`millrace keys`: who may ask what over HTTP."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from msgspec import Meta

from contracts.api_key import ApiKey, Scope
from contracts.errors import BadInput
from runtime.cli.command import Options, command, run_async
from runtime.cli.invocation import Invocation

if TYPE_CHECKING:
    from contracts.ports.api_keys import ApiKeys
    from runtime.settings import Settings
    from runtime.wiring import Adapters

COLUMNS = ("id", "name", "state", "scopes", "created_at", "expires_at", "last_used_at")
_SPAN = re.compile(r"(\d{1,5})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 168}


class Create(Options, frozen=True):
    """Whose it is, and what it may."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,99}$",
            description="Who or what will use it.",
            extra={"argument": "NAME"},
        ),
    ]
    scope: Annotated[tuple[Scope, ...], Meta(min_length=1, description="What it may; can be repeated.")]
    expires: Annotated[
        str, Meta(pattern=r"^(never|\d{1,5}[hdw])$", description="After how long: 12h, 90d, 52w, or never.")
    ] = "90d"


class Revoke(Options, frozen=True):
    """Which one."""

    key: Annotated[str, Meta(min_length=1, description="Its id or its name.", extra={"argument": "KEY"})]


class KeyLine(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is listed: nobody can be told its secret any more."""

    id: str
    name: str
    state: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


class MadeKey(KeyLine, frozen=True, kw_only=True):
    """A key that was just made, with what its holder sends."""

    key: str


def add(app: typer.Typer) -> None:
    """Add `keys create`, `list` and `revoke`."""
    group = typer.Typer(help="Make, list and revoke API keys: who may ask what over HTTP.", no_args_is_help=True)
    app.add_typer(group, name="keys")
    examples = "millrace keys create reports --scope read:orders --scope read:trips --expires 90d\n"
    examples += "millrace keys create deploy --scope run:batch_etl --scope view\n"
    command(group, "keys create", Create, create, examples=examples + "millrace keys create alice --scope admin")
    command(group, "keys list", Options, list_, examples="millrace keys list --output json")
    command(group, "keys revoke", Revoke, revoke, examples="millrace keys revoke reports")


def create(invocation: Invocation, asked: Create) -> int | None:
    """Make an API key and print it, this once.

    Scopes: admin (everything), view (look at jobs, workers and dead letters), operate (act on them, too),
    read:RESOURCE, run:JOB and publish:ADDRESS, each with * for all. With the first key, HTTP stops answering those who
    send none, on the worker's own machine as well; workers know of it within seconds.
    """
    import secrets

    from contracts.api_key import digest_of, written
    from contracts.ports import Secret

    async def act() -> None:
        async with _kept(invocation.settings) as (keys, adapters):
            now = adapters.clock.now()
            # The clock's randomness is for jitter; a secret needs the system's own.
            secret = Secret(secrets.token_urlsafe(32))
            made = ApiKey(
                id=secrets.token_hex(6),
                name=asked.name,
                digest=digest_of(secret),
                scopes=tuple(dict.fromkeys(asked.scope)),
                created_at=now,
                expires_at=_end(asked.expires, now),
            )
            await keys.add(made)
        line = msgspec.structs.asdict(_line(made, now))
        invocation.output.value(MadeKey(**line, key=written(made.id, secret).reveal()))
        invocation.output.note("The key is shown this once: keep it where secrets are kept.")

    return run_async(act)


def list_(invocation: Invocation, _: Options) -> int | None:
    """List all API keys, the newest first, those that are revoked or expired included."""

    async def act() -> None:
        async with _kept(invocation.settings) as (keys, adapters):
            now = adapters.clock.now()
            lines = [_line(key, now) for key in await keys.all()]
        invocation.output.rows(lines, columns=COLUMNS, none="there are no keys")

    return run_async(act)


def revoke(invocation: Invocation, asked: Revoke) -> int | None:
    """Revoke an API key for good; workers stop answering it within seconds."""

    async def act() -> None:
        async with _kept(invocation.settings) as (keys, adapters):
            revoked = await keys.revoke(asked.key)
            line = _line(revoked, adapters.clock.now())
        invocation.output.rows([line], columns=COLUMNS, none="")

    return run_async(act)


@asynccontextmanager
async def _kept(settings: Settings) -> AsyncIterator[tuple[ApiKeys, Adapters]]:
    """Where keys are kept, open; made where it isn't there yet: a key can be made before the first worker starts."""
    from runtime import migrating
    from runtime.cli.ledger_access import opened

    if settings.db == "memory":
        raise BadInput("--db memory is gone when this command ends, with the key: keys need a database that stays")
    async with opened(settings, "db") as adapters:
        await migrating.fit(adapters.db, auto=settings.auto_migrate)
        yield adapters.api_keys, adapters


def _end(given: str, now: datetime) -> datetime | None:
    span = _SPAN.fullmatch(given)
    return now + timedelta(hours=int(span[1]) * _HOURS[span[2]]) if span else None


def _line(key: ApiKey, now: datetime) -> KeyLine:
    state = "revoked" if key.revoked_at else "expired" if key.expires_at and key.expires_at <= now else "good"
    return KeyLine(
        id=key.id,
        name=key.name,
        state=state,
        scopes=key.scopes,
        created_at=key.created_at,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
    )
