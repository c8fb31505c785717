"""What is to be read of each partition: decided once, before anything is."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.errors import BadInput
from contracts.ports import History
from contracts.ports.history import Stretch
from contracts.stream_replay import RunStreamReplay


async def plan(cmd: RunStreamReplay, history: History) -> list[Stretch]:
    """Raises `BadInput` with everything that is wrong with the command, `NotFound` where there is no such topic."""
    faults = []
    if cmd.into == cmd.topic:
        faults.append(f"into: {cmd.into} is the topic that is read; name another one, or it would feed itself")
    if cmd.from_at is not None and cmd.to_at is not None and cmd.from_at >= cmd.to_at:
        faults.append(f"from, {cmd.from_at.isoformat()}, is not before to, {cmd.to_at.isoformat()}")
    if faults:
        raise BadInput(faults)
    stretches = await history.stretches(cmd.topic, from_at=cmd.from_at, to_at=cmd.to_at)
    if cmd.partition:
        known = {stretch.partition.index: stretch for stretch in stretches}
        if unknown := [index for index in cmd.partition if index not in known]:
            among = f"0 to {len(stretches) - 1}"
            raise BadInput([f"partition: {cmd.topic} has no partition {index}; it has {among}" for index in unknown])
        stretches = [known[index] for index in sorted(set(cmd.partition))]
    if cmd.expired == "fail" and (gone := [stretch for stretch in stretches if stretch.expired]):
        raise BadInput(_gone(cmd, gone))
    return stretches


def _gone(cmd: RunStreamReplay, stretches: Sequence[Stretch]) -> str:
    assert cmd.from_at is not None
    indices = ", ".join(str(stretch.partition.index) for stretch in stretches)
    left = [stretch.oldest_at for stretch in stretches if stretch.oldest_at is not None]
    whole = f"all is there from {max(left).isoformat()} on: give that as from" if left else "nothing is left there"
    return (
        f"from: of {cmd.topic}, partition {indices}, messages were deleted that may have come at"
        f" {cmd.from_at.isoformat()} or later; {whole}, or begin with what is left (expired: earliest)"
    )
