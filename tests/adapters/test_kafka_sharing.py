from __future__ import annotations

import json

import msgspec
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from adapters.bus.kafka.assignor import CooperativeAssignor
from adapters.bus.kafka.sharing import Claim, shared

MEMBERS = st.lists(st.sampled_from([f"m{number}" for number in range(6)]), min_size=1, max_size=6, unique=True)


@st.composite
def groups(draw: st.DrawFn) -> tuple[int, dict[str, Claim]]:
    """A topic, and members that claim parts of it, none the same."""
    partitions = draw(st.integers(0, 24))
    members = draw(MEMBERS)
    owners = draw(st.lists(st.sampled_from([None, *members]), min_size=partitions, max_size=partitions))
    claims = {
        member: Claim(draw(st.integers(1, 3)), tuple(index for index, owner in enumerate(owners) if owner == member))
        for member in members
    }
    return partitions, claims


@given(groups())
def test_nobody_is_given_what_another_claims(group: tuple[int, dict[str, Claim]]) -> None:
    partitions, claims = group
    given = shared(partitions, claims)
    assert set(given) == set(claims)
    all_given = [index for indices in given.values() for index in indices]
    assert len(all_given) == len(set(all_given)), "two owners"
    for member, indices in given.items():
        for other, claim in claims.items():
            assert other == member or not set(claim.partitions) & set(indices)


@given(groups())
def test_everything_is_shared_evenly_once_what_was_taken_away_is_free(group: tuple[int, dict[str, Claim]]) -> None:
    partitions, claims = group
    first = shared(partitions, claims)
    then = {member: Claim(9, tuple(indices)) for member, indices in first.items()}
    second = shared(partitions, then)
    assert sorted(index for indices in second.values() for index in indices) == list(range(partitions))
    sizes = [len(indices) for indices in second.values()]
    assert max(sizes) - min(sizes) <= 1
    assert all(set(first[member]) <= set(second[member]) for member in first), "what was given is taken away again"
    again = shared(partitions, {member: Claim(10, tuple(indices)) for member, indices in second.items()})
    assert again == second, "it never comes to rest"


@given(groups())
def test_no_more_is_taken_away_than_must_be(group: tuple[int, dict[str, Claim]]) -> None:
    partitions, claims = group
    given = shared(partitions, claims)
    share = -(-partitions // len(claims))
    for member, claim in claims.items():
        assert len(set(claim.partitions) - set(given[member])) <= max(0, len(claim.partitions) - share + 1)


def test_of_two_that_claim_the_same_the_later_generation_is_right() -> None:
    given = shared(2, {"back from the dead": Claim(4, (0, 1)), "heir": Claim(6, (0, 1))})
    assert given == {"heir": [0], "back from the dead": []}


def test_a_member_that_comes_gets_what_is_given_up_in_the_next_round() -> None:
    assert shared(4, {"old": Claim(1, (0, 1, 2, 3)), "new": Claim()}) == {"old": [0, 1], "new": []}
    assert shared(4, {"old": Claim(2, (0, 1)), "new": Claim(2)}) == {"old": [0, 1], "new": [2, 3]}


def test_claims_for_partitions_that_are_not_there_count_for_nothing() -> None:
    assert shared(1, {"a": Claim(3, (0, 7)), "b": Claim(9, (-1,))}) == {"a": [0], "b": []}
    assert shared(0, {"a": Claim()}) == {"a": []}
    assert shared(3, {}) == {}


class Cluster:
    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return {0, 1, 2} if topic == "orders" else None


def test_claims_travel_in_the_members_metadata() -> None:
    assignor = CooperativeAssignor("orders", lambda: Claim(7, (0, 2)))
    told = assignor.metadata({"orders"})
    assert msgspec.json.decode(told.user_data) == [7, [0, 2]]
    unreadable = ConsumerProtocolMemberMetadata(0, ["orders"], b"\xff")
    silent = ConsumerProtocolMemberMetadata(0, ["orders"], None)
    given = assignor.assign(Cluster(), {"a": told, "b": unreadable, "c": silent})
    assert {name: one.assignment for name, one in given.items()} == {
        "a": [("orders", [0])],
        "b": [("orders", [1])],
        "c": [("orders", [])],
    }
    assert json.dumps(assignor.name)


def test_a_topic_that_is_not_known_yet_is_given_to_nobody() -> None:
    assignor = CooperativeAssignor("other", Claim)
    [given] = assignor.assign(Cluster(), {"a": assignor.metadata({"other"})}).values()
    assert given.assignment == [("other", [])]
