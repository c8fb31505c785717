"""Dead letters as people see them: on the command line and over HTTP, without what is personal unless it is asked
for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from contracts.module import Module
from contracts.ports.ledger import DeadLetter
from contracts.redaction import HIDDEN
from runtime import personal

Contracts = Mapping[str, type[msgspec.Struct]]
"""By address, as far as modules are known here."""

MOST_REPLAYS = 3
"""What came back so often is not sent again, unless someone says so."""
UNKNOWN = "no module here takes it, so what is personal of it can't be told"


class LetterLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A dead letter in a list; ask for it by its id to see its headers, traceback and body."""

    id: str
    address: str
    group: str = ""
    reason: str
    error: str = ""
    key: str | None = None
    origin: str = ""
    partition: int | None = None
    position: str | None = None
    """As text: some buses' are larger than what is safe as a number in JSON."""
    attempts: int = 0
    replays: int = 0
    correlation_id: str = ""
    buried_at: datetime | None = None


class ShownLetter(LetterLine, frozen=True, kw_only=True, omit_defaults=True):
    """A dead letter whole. `body` is JSON where it was, else text, or `{"base64": …}` of what is no text. `hidden` says
    what of it is not shown."""

    headers: dict[str, str] = msgspec.field(default_factory=dict)
    traceback: str = ""
    hidden: str = ""
    body: Any = None


def contracts_of(modules: Iterable[Module]) -> Contracts:
    """What a message of each address is."""
    return {route.address: route.contract for module in modules for route in module.routes}


def line(letter: DeadLetter, contracts: Contracts) -> LetterLine:
    """What a list says of it, with the first line of its error."""
    said = _said(letter, contracts.get(letter.address))
    return LetterLine(**{**said, "error": said["error"].partition("\n")[0]})


def shown(letter: DeadLetter, contracts: Contracts, *, reveal: bool = False) -> ShownLetter:
    """All of it, with `***` for what its contract marks as personal, unless `reveal`. What is known of no contract is
    hidden whole."""
    contract = contracts.get(letter.address)
    if reveal:
        return ShownLetter(
            **_said(letter, None), headers=dict(letter.headers), traceback=letter.traceback, body=readable(letter.body)
        )
    hidden = UNKNOWN if contract is None else ", ".join(personal.fields_of(contract))
    return ShownLetter(
        **_said(letter, contract),
        headers={name: _scrubbed(contract, letter, value) for name, value in letter.headers.items()},
        traceback=_scrubbed(contract, letter, letter.traceback),
        hidden=hidden,
        body=HIDDEN if contract is None else readable(personal.masked(contract, letter.body)),
    )


def readable(body: bytes) -> Any:
    """JSON as its value, else text, else `{"base64": …}`."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return body.decode()
    except UnicodeDecodeError:
        return {"base64": msgspec.to_builtins(body)}


def as_they_came(letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    """Oldest first, so that what is sent again of one key keeps its order."""
    return sorted(letters, key=lambda one: (one.address, one.group, one.partition or 0, one.position or 0, one.id))


def _said(letter: DeadLetter, contract: type[msgspec.Struct] | None) -> dict[str, Any]:
    said = {name: getattr(letter, name) for name in LetterLine.__struct_fields__}
    said["position"] = None if letter.position is None else str(letter.position)
    said["error"] = _scrubbed(contract, letter, letter.error)
    if letter.key is not None:
        said["key"] = _scrubbed(contract, letter, letter.key)
    return said


def _scrubbed(contract: type[msgspec.Struct] | None, letter: DeadLetter, text: str) -> str:
    return text if contract is None else personal.scrubbed(contract, letter.body, text)
