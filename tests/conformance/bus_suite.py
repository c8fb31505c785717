"""What every Bus promises.

Each promise is a function of a `Backing`; an implementation's test file runs every one of `PROMISES`:

    @pytest.mark.parametrize("promise", PROMISES, ids=name_of)
    async def test_mine(promise: Promise) -> None:
        await promise(MyBacking())

`bus_scene` says what a backing supplies.
"""

from __future__ import annotations

from tests.conformance import (
    bus_dying,
    bus_flow,
    bus_history,
    bus_life,
    bus_messages,
    bus_positions,
    bus_sharing,
    bus_strangers,
    bus_time,
)
from tests.conformance.bus_promise import PROMISES, Promise, name_of

ESSENTIAL = [
    bus_messages.a_message_arrives_as_it_was_published,
    bus_messages.one_key_keeps_its_order,
    bus_messages.many_are_published_at_once_and_confirmed,
    bus_messages.a_job_route_gets_its_commands_in_order,
    bus_positions.what_is_committed_does_not_come_again,
    bus_positions.what_is_released_comes_again_at_once,
    bus_positions.the_lag_is_what_is_not_committed,
    bus_sharing.members_of_a_group_share_the_partitions,
    bus_sharing.closing_gives_everything_to_others_at_once,
    bus_sharing.who_leaves_hands_over_what_it_did_not_commit,
]
"""Every request that a bus makes, once: for another way to the same server, such as TLS; the rest is the same code."""

__all__ = [
    "ESSENTIAL",
    "PROMISES",
    "Promise",
    "bus_dying",
    "bus_flow",
    "bus_history",
    "bus_life",
    "bus_messages",
    "bus_positions",
    "bus_sharing",
    "bus_strangers",
    "bus_time",
    "name_of",
]
