"""`millrace publish`: a message to an address."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from msgspec import Meta

from contracts.errors import BadInput, NotFound, Unavailable
from runtime.cli.command import Options, command, run_async
from runtime.cli.invocation import Invocation

if TYPE_CHECKING:
    from contracts.message import Envelope
    from contracts.module import JobRoute, Module, Route
    from runtime.wiring import Adapters

EXAMPLES = """millrace publish run.batch_etl --json '{"dataset": "orders", "date": "2026-01-15"}'
millrace publish run.batch_etl --file command.json --priority 5 --id orders-2026-01-15
echo '{"customer_id": "c1"}' | millrace publish orders.raw --file -"""


def addresses() -> list[str]:
    """Every address that a module takes, for completion."""
    from runtime import registry

    return sorted({route.address for module in registry.find().modules for route in module.routes})


class Publish(Options, frozen=True):
    """What is published, and how."""

    address: Annotated[
        str,
        Meta(description="Where to, such as run.batch_etl.", extra={"argument": "ADDRESS", "complete": addresses}),
    ]
    json: Annotated[str | None, Meta(description="The message, as JSON.")] = None
    file: Annotated[str | None, Meta(description="A file with the message as JSON; - is standard input.")] = None
    key: Annotated[str | None, Meta(description="Messages with one key keep their order.")] = None
    priority: Annotated[int, Meta(description="For jobs: higher goes first.")] = 0
    delay_s: Annotated[float, Meta(ge=0, description="Not before so many seconds from now.")] = 0.0
    id: Annotated[str | None, Meta(description="The message's id: sending it twice is harmless.")] = None
    correlation_id: Annotated[str | None, Meta(description="Carried to every log line.")] = None


def add(app: typer.Typer) -> None:
    """Add `publish`."""
    command(app, "publish", Publish, publish, examples=EXAMPLES)


def publish(invocation: Invocation, asked: Publish) -> int | None:
    """Publish a message: a command is recorded in the ledger, any other message goes to a running worker."""
    payload = _payload(asked)
    module, route = _owner(invocation, asked.address)

    async def act() -> None:
        from runtime import commands
        from runtime.cli.ledger_access import opened
        from runtime.publishing import publishing

        async with AsyncExitStack() as stack:
            adapters = await stack.enter_async_context(opened(invocation.settings))
            carried = stack.enter_context(publishing(asked.address, adapters.traces))
            envelope = commands.envelope(
                asked.address,
                payload,
                contract=route.contract,
                clock=adapters.clock,
                id=asked.id,
                key=asked.key,
                priority=asked.priority,
                delay_s=asked.delay_s,
                correlation_id=asked.correlation_id,
                headers=carried,
            )
            await _send(invocation, stack, module, route, envelope, asked)

    return run_async(act)


async def _send(
    invocation: Invocation, stack: AsyncExitStack, module: Module, route: Route, envelope: Envelope, asked: Publish
) -> None:
    from contracts.module import JobRoute
    from runtime.cli.desk import worker_here, worker_instead
    from runtime.cli.ledger_access import the_ledger

    settings = invocation.settings
    try:
        adapters = await stack.enter_async_context(the_ledger(settings))
    except (NotFound, Unavailable) as error:
        if isinstance(route, JobRoute):
            worker = await worker_instead(settings, error)
            return _tell(invocation, await _post(worker, envelope, asked), at=worker.url)
        urls, workers = [], "no ledger tells of workers"
    else:
        if isinstance(route, JobRoute):
            return await _record(invocation, adapters, route, envelope)
        rows = [row for row in await adapters.ledger.leases.workers() if module.name in row["modules"]]
        urls, workers = [str(row["http"]) for row in rows if row["http"]], f"{len(rows)} workers run {module.name}"
    here = await worker_here(settings)
    urls += [here.url] if here else []
    return await _send_to_one(
        invocation, urls, f"{workers}; start one with `millrace run {module.name}`", envelope, asked
    )


async def _send_to_one(invocation: Invocation, urls: list[str], hint: str, envelope: Envelope, asked: Publish) -> None:
    """Post to the first worker that takes it: messages of a stream live in a worker's process."""
    from runtime.cli.ledger_access import opened
    from runtime.cli.remote import Remote

    async with opened(invocation.settings, "secrets") as adapters:
        token = await adapters.secrets.get("HTTP_TOKEN")
    refusals = []
    for url in dict.fromkeys(urls):
        try:
            return _tell(invocation, await _post(Remote(url, token), envelope, asked), at=url)
        except (Unavailable, NotFound) as error:
            refusals.append(str(error))
    why = "; ".join([*refusals, hint])
    raise NotFound(f"messages of a stream on the memory bus go to a running worker, and none took this one: {why}")


async def _post(worker: Any, envelope: Envelope, asked: Publish) -> dict[str, Any]:
    options = {"key": asked.key, "priority": asked.priority or None, "delay_s": asked.delay_s or None}
    answer: dict[str, Any] = await worker.post(
        envelope.address,
        envelope.body,
        message_id=envelope.id,
        correlation_id=envelope.correlation_id,
        options={name: value for name, value in options.items() if value is not None},
        carried=envelope.headers,
    )
    return answer


async def _record(invocation: Invocation, adapters: Adapters, route: JobRoute, envelope: Envelope) -> None:
    from runtime.jobs.intake import new_job

    ledger, output = adapters.ledger, invocation.output
    command = msgspec.json.decode(envelope.body, type=route.contract)
    [recorded] = await ledger.queue.record([new_job(route, command, envelope)])
    row = await ledger.desk.get(envelope.id)
    if (
        recorded.became == "known"
        and row
        and (row.address, row.command)
        != (
            envelope.address,
            msgspec.json.decode(envelope.body),
        )
    ):
        raise BadInput(f"--id: {envelope.id} was used for another command, to {row.address}; take a new one")
    state = row.state.value if row else "queued"
    said = {"recorded": "is recorded", "known": f"was recorded before and is {state}"}
    skipped = f"is skipped: {recorded.active_id}, with the same unique key, is active"
    output.say(
        f"job {envelope.id} {said.get(recorded.became, skipped)}; `millrace jobs wait {envelope.id}` follows it",
        job_id=envelope.id,
        address=envelope.address,
        state=state,
        became=recorded.became,
        active_id=recorded.active_id,
    )
    if not await ledger.leases.workers():
        output.note("no worker is running: the job waits until one is started")


def _tell(invocation: Invocation, answer: dict[str, Any], *, at: str) -> None:
    what = f"job {answer['job_id']}" if "job_id" in answer else f"message {answer['message_id']}"
    invocation.output.say(f"{what} is {answer['state']} by the worker at {at}", **answer)


def _owner(invocation: Invocation, address: str) -> tuple[Module, Route]:
    from runtime import registry, wiring

    found = registry.find(invocation.settings.modules, catalog=wiring.catalog_of(invocation.settings))
    if owner := registry.owner_of(address, found.modules):
        return owner
    known = sorted(route.address for module in found.modules for route in module.routes)
    raise BadInput([f"no module takes {address!r}; there are: {', '.join(known) or 'none'}", *found.broken.values()])


def _payload(asked: Publish) -> bytes:
    if (asked.json is None) == (asked.file is None):
        raise BadInput("give the message either by --json or by --file")
    if asked.json is not None:
        return asked.json.encode("utf-8", "surrogateescape")
    if asked.file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(str(asked.file)).read_bytes()
    except OSError as error:
        raise BadInput(f"--file: {asked.file} can't be read: {error.strerror}") from None
