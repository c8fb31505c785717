"""Posting a message: answered once it is safe to forget that one asked."""

from __future__ import annotations

import difflib
from datetime import datetime
from typing import Annotated

import msgspec
from litestar import Request, Response, post
from litestar.datastructures import State
from litestar.params import FromPath, HeaderParameter, QueryParameter

from contracts.errors import BadInput, NotFound
from contracts.message import Envelope
from contracts.module import JobRoute
from contracts.ports.ledger import Recorded
from runtime import commands
from runtime.http.problems import LateAnswer
from runtime.http.scopes import COMMAND
from runtime.http.site import Site
from runtime.pipeline import Mounted

SUBMIT_TIMEOUT_S = 10.0


class AcceptedCommand(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A command that will run: `location` tells more. `state` is `accepted` where the bus has it and the ledger does
    not know it yet. `known`: this id was posted before, nothing was done again. `active_id` is the job whose unique
    key kept this one from running."""

    job_id: str
    address: str
    state: str
    location: str
    correlation_id: str
    known: bool = False
    active_id: str | None = None


class AcceptedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message of a stream: the bus has it."""

    message_id: str
    address: str
    state: str
    correlation_id: str


@post(
    "/commands/{address:str}",
    status_code=202,
    summary="Post a command, or a message of a stream.",
    tags=["commands"],
    opt={"scope": COMMAND},
)
async def post_command(
    state: State,
    request: Request,  # type: ignore[type-arg]
    address: FromPath[str],
    idempotency_key: Annotated[
        str | None,
        HeaderParameter(name="Idempotency-Key", description="The message's id: posting it again changes nothing."),
    ] = None,
    key: Annotated[str | None, QueryParameter(description="Messages with one key keep their order.")] = None,
    priority: Annotated[int, QueryParameter(description="For jobs: higher goes first; one is worth a minute.")] = 0,
    delay_s: Annotated[float, QueryParameter(description="Not before this many seconds from now.")] = 0.0,
    not_before: Annotated[datetime | None, QueryParameter(description="Not before this time, with offset.")] = None,
) -> Response[AcceptedCommand | AcceptedMessage]:
    """202 comes only after the bus has confirmed, or the ledger has recorded the command; 422 has every fault."""
    site: Site = state.site
    mounted = _mounted(site, address)
    envelope = commands.envelope(
        address,
        await request.body(),
        contract=mounted.route.contract,
        clock=site.worker.clock,
        id=_unquoted(idempotency_key),
        key=key,
        priority=priority,
        delay_s=delay_s,
        not_before=not_before,
        correlation_id=request.scope["state"]["correlation_id"],
    )
    site.must_take_work()
    recorded = await _submit(site, envelope)
    if isinstance(mounted.route, JobRoute):
        job = await _job(site, envelope, recorded)
        return Response(job, headers={"Location": job.location})
    return Response(
        AcceptedMessage(
            message_id=envelope.id, address=address, state="accepted", correlation_id=envelope.correlation_id
        )
    )


def _mounted(site: Site, address: str) -> Mounted:
    known = site.worker.mounted
    if address in known:
        return known[address]
    near = difflib.get_close_matches(address, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known) or 'none'}"
    raise NotFound(f"no module of this worker takes {address[:100]!r}; {hint}")


async def _submit(site: Site, envelope: Envelope) -> Recorded | None:
    try:
        return await site.worker.submit(envelope, timeout_s=SUBMIT_TIMEOUT_S)
    except TimeoutError:
        raise LateAnswer(
            f"whether {envelope.id} was recorded is not known after {SUBMIT_TIMEOUT_S:g} s; "
            f"post it again with `Idempotency-Key: {envelope.id}`: that is safe either way"
        ) from None


async def _job(site: Site, envelope: Envelope, recorded: Recorded | None) -> AcceptedCommand:
    if recorded is None:
        site.accepted.add(envelope.id, envelope.address)
    known = recorded is not None and recorded.became == "known"
    return AcceptedCommand(
        job_id=envelope.id,
        address=envelope.address,
        state=await _known_state(site, envelope) if known else _state(recorded),
        location=f"/jobs/{envelope.id}",
        correlation_id=envelope.correlation_id,
        known=known,
        active_id=recorded.active_id if recorded else None,
    )


def _state(recorded: Recorded | None) -> str:
    if recorded is None:
        return "accepted"
    if recorded.became == "skipped":
        return "skipped"
    return "running" if recorded.claim else "queued"


async def _known_state(site: Site, envelope: Envelope) -> str:
    """Of a job that was there before; raises `BadInput` when it is another command under the same id."""
    row = await site.ledger.desk.get(envelope.id)
    if row is None:
        return "accepted"
    if row.address != envelope.address or row.command != msgspec.json.decode(envelope.body):
        raise BadInput(f"Idempotency-Key: {envelope.id} was used for another command, to {row.address}; take a new one")
    return row.state.value


def _unquoted(key: str | None) -> str | None:
    """The draft of the header's standard has its value in quotes; most clients leave them out."""
    return key[1:-1] if key and len(key) >= 2 and key[0] == key[-1] == '"' else key


HANDLERS = [post_command]
