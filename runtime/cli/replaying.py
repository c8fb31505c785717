"""Sending dead letters again, or dropping them: at what rate, and what became of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from contracts.job import Progress
from contracts.ports.ledger import DeadLetter, LetterFilter
from runtime import exits
from runtime.cli.invocation import Invocation
from runtime.cli.letters import all_of, the_letters

if TYPE_CHECKING:
    from runtime.cli.dlq import ReplayLetters

AT_ONCE = 100
PER_SECOND = 4
"""With a rate, letters are sent in so many portions a second at most."""
MISSING = "not found"
_TROUBLE = frozenset({"too often", "would stay", MISSING})
_PLAIN = {
    "parked": "sent again",
    "gone": "gone: someone else was faster",
    "too often": "stays: it came back too often",
    "would be parked": "would be sent again",
    "would stay": "would stay: it came back too often",
}


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one letter."""

    id: str
    address: str = ""
    group: str = ""
    became: str
    replays: int = 0


async def replay(invocation: Invocation, which: LetterFilter, asked: ReplayLetters) -> int:
    """What came back too often stays; what is under way when this is interrupted is told, too."""
    from runtime.cli.progress import AboveTheBar, following
    from runtime.wiring import Adapters

    clock = Adapters(invocation.settings).clock
    output, most = invocation.output, asked.most_replays
    async with the_letters(invocation.settings) as letters:
        chosen = await all_of(letters, which)
        missing = _missing(which, chosen)
        if asked.dry_run:
            would = [_fate(one, "would stay" if one.replays >= most else "would be parked") for one in chosen]
            return _told(invocation, [*would, *missing], dry_run=True)
        fates: list[Fate] = []
        began_at = clock.monotonic()

        def seldom(now: Progress) -> None:
            output.note(f"{now.rows:,} of {now.total_rows:,} are sent")

        try:
            above = AboveTheBar.on_stderr()
            with following("dlq replay", above=above, as_json=output.as_json, otherwise=seldom) as bar:
                for portion in _portions(chosen, asked.rate):
                    if asked.rate:
                        await clock.sleep(max(0.0, began_at + len(fates) / asked.rate - clock.monotonic()))
                    became = await letters.replay(portion, most=most)
                    fates += map(_fate, portion, became)
                    bar(Progress(rows=len(fates), total_rows=len(chosen)))
        finally:
            code = _told(invocation, [*fates, *missing], left=len(chosen) - len(fates))
    return code


async def drop(invocation: Invocation, which: LetterFilter, *, dry_run: bool) -> int:
    """In portions; what is dropped when this is interrupted is told, too."""
    async with the_letters(invocation.settings) as letters:
        chosen = await all_of(letters, which)
        missing = _missing(which, chosen)
        if dry_run:
            return _told(invocation, [*(_fate(one, "would be dropped") for one in chosen), *missing], dry_run=True)
        fates: list[Fate] = []
        try:
            for portion in _portions(chosen, None):
                # Whether we or someone else dropped one at this moment makes no difference: it is not there any more.
                await letters.drop(portion)
                fates += [_fate(one, "dropped") for one in portion]
        finally:
            code = _told(invocation, [*fates, *missing], left=len(chosen) - len(fates))
    return code


def _portions(letters: Sequence[DeadLetter], rate: float | None) -> list[Sequence[DeadLetter]]:
    size = AT_ONCE if rate is None else min(AT_ONCE, max(1, int(rate / PER_SECOND)))
    return [letters[first : first + size] for first in range(0, len(letters), size)]


def _missing(which: LetterFilter, chosen: Sequence[DeadLetter]) -> list[Fate]:
    """The ids that were named, and that no letter (which fits) has."""
    there = {one.id for one in chosen}
    return [Fate(id=id_, became=MISSING) for id_ in dict.fromkeys(which.ids) if id_ not in there]


def _fate(letter: DeadLetter, became: str) -> Fate:
    return Fate(id=letter.id, address=letter.address, group=letter.group, became=became, replays=letter.replays)


def _told(invocation: Invocation, fates: Sequence[Fate], *, left: int = 0, dry_run: bool = False) -> int:
    output = invocation.output
    counts: Counter[str] = Counter(fate.became for fate in fates)
    if left:
        counts["not tried"] = left
    if output.as_json:
        output.value({"dry_run": dry_run, "summary": dict(counts), "letters": fates})
    else:
        rows = [{**msgspec.structs.asdict(fate), "became": _PLAIN.get(fate.became, fate.became)} for fate in fates]
        output.rows(rows, columns=("id", "address", "group", "became", "replays"), none="no such dead letters")
        if fates:
            output.say("; ".join(f"{count:,} {_PLAIN.get(said, said)}" for said, count in counts.items()))
    return exits.FAILED if _TROUBLE & counts.keys() else exits.DONE
