"""`millrace positions`: how far streams stand in the ledger, and where they are to begin."""

from __future__ import annotations

from typing import Annotated

import typer
from msgspec import Meta

from contracts.errors import BadInput, NotFound
from runtime.cli.command import Options, command, run_async
from runtime.cli.invocation import Invocation

_COLUMNS = ("group", "address", "index", "position", "lag", "open", "parked", "worker_id")
_WORDS = {"bus": None, "earliest": 0}
_DIGITS = 39
"""Of 128 bits: no bus has larger positions."""


class ListPositions(Options, frozen=True):
    """Which ones."""

    group: Annotated[str | None, Meta(description="Only of this group.")] = None
    address: Annotated[str | None, Meta(description="Only of this address.")] = None


class ResetPositions(Options, frozen=True):
    """Whose, and where to."""

    group: Annotated[str, Meta(min_length=1, description="The group.", extra={"argument": "GROUP"})]
    address: Annotated[str, Meta(min_length=1, description="The address.", extra={"argument": "ADDRESS"})]
    to: Annotated[str, Meta(description="bus (where the bus says), earliest, or a position.")]
    yes: Annotated[bool, Meta(description="Really: what was finished may be done again, or left out.")] = False


def add(app: typer.Typer) -> None:
    """Add `positions list` and `reset`."""
    group = typer.Typer(help="See how far streams stand in the ledger, and set them back.", no_args_is_help=True)
    app.add_typer(group, name="positions")
    command(group, "positions list", ListPositions, list_, examples="millrace positions list --address orders.raw")
    examples = (
        "millrace positions reset billing orders.raw --to earliest --yes\n"
        "millrace positions reset billing orders.raw --to bus --yes"
    )
    command(group, "positions reset", ResetPositions, reset, examples=examples)


def list_(invocation: Invocation, asked: ListPositions) -> int | None:
    """List what the ledger knows of each partition: its position, its lag, who holds it."""
    from runtime.cli.ledger_access import the_ledger
    from runtime.fleet import partitions

    async def act() -> None:
        async with the_ledger(invocation.settings) as adapters:
            holdings = await adapters.ledger.partitions.holdings()
            living = [str(worker["id"]) for worker in await adapters.ledger.leases.workers()]
        rows = [
            one
            for one in partitions(holdings, living)
            if asked.group in (None, one.group) and asked.address in (None, one.address)
        ]
        # A position is text: it is to be copied as it is.
        invocation.output.rows(rows, columns=_COLUMNS, none="no such positions")

    return run_async(act)


def reset(invocation: Invocation, asked: ResetPositions) -> int | None:
    """Forget how far a group has come at an address: it begins elsewhere. Its workers must have stopped."""
    from runtime.cli.ledger_access import the_ledger

    to = _position(asked.to)
    if not asked.yes:
        raise BadInput(
            f"--yes: {asked.group} would begin at {_said(to)} with {asked.address}: what it had finished may be done "
            "again, or what waits be left out; say so if it may"
        )

    async def act() -> None:
        async with the_ledger(invocation.settings) as adapters:
            known = await adapters.ledger.partitions.holdings()
            count = await adapters.ledger.partitions.reset(asked.group, asked.address, to=to)
        if not count:
            there = sorted({f"{one.group} {one.partition.address}" for one in known})
            raise NotFound(
                f"the ledger has no positions of {asked.group} {asked.address}; it has: {', '.join(there) or 'none'}"
            )
        invocation.output.say(
            f"{count} partitions of {asked.address} begin at {_said(to)} for {asked.group}",
            group=asked.group,
            address=asked.address,
            to=None if to is None else str(to),
            partitions=count,
        )
        if note := _only_on_the_bus(invocation, asked.group, asked.address):
            invocation.output.note(note)

    return run_async(act)


def _position(given: str) -> int | None:
    if given in _WORDS:
        return _WORDS[given]
    if given.isascii() and given.isdigit() and len(given) <= _DIGITS:
        return int(given)
    raise BadInput(
        f"--to: {given!r}; it can be bus (where the bus says), earliest, or a position as `millrace positions list` "
        "shows them"
    )


def _said(to: int | None) -> str:
    return "where the bus says" if to is None else f"position {to}"


def _only_on_the_bus(invocation: Invocation, group: str, address: str) -> str:
    """Why this changes less than one might think; empty where it doesn't."""
    from contracts.module import StreamRoute
    from runtime import registry, wiring
    from runtime.descriptor import guarantee_of

    for module in registry.find(catalog=wiring.catalog_of(invocation.settings)).modules:
        for route in module.routes:
            if isinstance(route, StreamRoute) and (route.group, route.address) == (group, address):
                if guarantee_of(module, route) == "transactional":
                    return ""
                return (
                    f"{address} is not transactional in {module.name}: the bus alone says where it begins, set it there"
                )
    return ""
