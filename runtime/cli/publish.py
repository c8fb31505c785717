"""`millrace publish`: a message to an address."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from contracts.errors import BadInput, Unavailable
from contracts.message import Envelope
from contracts.module import JobRoute, Route
from runtime.cli.ledger_access import the_ledger
from runtime.cli.options import Invocation, command, run_async


def add(app: typer.Typer) -> None:
    """Add `publish`."""
    command(
        app,
        "publish",
        examples="""millrace publish run.batch_etl --json '{"dataset": "orders", "date": "2026-01-15"}'
        millrace publish run.batch_etl --file command.json --priority 5""",
    )(publish)


def publish(
    invocation: Invocation,
    address: Annotated[str, typer.Argument(help="Where to, such as run.batch_etl.")],
    json: Annotated[str | None, typer.Option(help="The message, as JSON.")] = None,
    file: Annotated[Path | None, typer.Option(help="A file with the message as JSON; - is standard input.")] = None,
    key: Annotated[str | None, typer.Option(help="Messages with one key keep their order.")] = None,
    priority: Annotated[int, typer.Option(help="For jobs: higher goes first.")] = 0,
    delay_s: Annotated[float, typer.Option(min=0, help="Not before this many seconds from now.")] = 0.0,
    message_id: Annotated[
        str | None, typer.Option("--id", help="The message's id: sending it twice is harmless.")
    ] = None,
    correlation_id: Annotated[str | None, typer.Option(help="Carried to every log line.")] = None,
) -> int | None:
    """Publish a message; a command is recorded in the ledger, any other message goes to a running worker."""
    payload = _payload(json, file)

    async def act() -> None:
        from runtime import commands, registry
        from runtime.wiring import Adapters

        settings = invocation.settings()
        owner = registry.owner_of(address, registry.load(settings.modules))
        if owner is None:
            known = [route.address for module in registry.load() for route in module.routes]
            raise BadInput(f"no module takes {address!r}; there are: {', '.join(sorted(known))}")
        envelope = commands.envelope(
            address,
            payload,
            contract=owner[1].contract,
            clock=Adapters(settings).clock,
            id=message_id,
            key=key,
            priority=priority,
            delay_s=delay_s,
            correlation_id=correlation_id,
        )
        invocation.output.value(await _send(invocation, owner[1], envelope))

    return run_async(act)


async def _send(invocation: Invocation, route: Route, envelope: Envelope) -> dict[str, Any]:
    from runtime.jobs.intake import new_job

    async with the_ledger(invocation.settings()) as adapters:
        workers = await adapters.ledger.leases.workers()
        if not isinstance(route, JobRoute):
            raise Unavailable(
                envelope.address, "streams on the memory bus live in a worker's process; post it to its HTTP"
            )
        command = msgspec.json.decode(envelope.body, type=route.contract)
        [recorded] = await adapters.ledger.queue.record([new_job(route, command, envelope)])
        if not workers:
            invocation.output.note("no worker is running: the job waits until one is started")
        return {"job_id": recorded.id, "address": envelope.address, "became": recorded.became}


def _payload(json: str | None, file: Path | None) -> Any:
    if (json is None) == (file is None):
        raise BadInput("give the message either by --json or by --file")
    if json is not None:
        text, where = json.encode(), "--json"
    else:
        assert file is not None
        text, where = (sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()), str(file)
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{where} is not JSON: {error}") from None
