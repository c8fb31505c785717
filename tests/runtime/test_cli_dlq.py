"""`millrace dlq`, on the ledger of a real database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from adapters.database.postgres import PostgresDb
from adapters.ledger.postgres.ledger import PostgresLedger
from contracts.message import Partition
from contracts.ports.ledger import DeadLetter, LetterFilter
from tests.kit.blocking_ledger import on_ledger
from tests.kit.command_line import CommandLine

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

T = TypeVar("T")

PEOPLE = '''
"""Takes people, whose names are their own."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from contracts.message import Contract
from contracts.module import Module

module = Module("people", kind="service", summary="Takes people.")


class Person(Contract, frozen=True):
    """Somebody."""

    number: int
    name: Annotated[str, Meta(extra={"personal": True})]


@module.stream("people.raw", Person)
async def take(person: Person) -> None:
    """Takes one."""
'''


class Buried:
    """Puts letters into the ledger of the database, each test with a route's group of its own."""

    def __init__(self, url: str) -> None:
        self._url = url

    def run(self, work: Callable[[PostgresLedger, PostgresDb], Awaitable[T]]) -> T:
        return on_ledger(self._url, work)

    def __call__(self, *ids: str, group: str, **given: Any) -> None:
        letters = [
            DeadLetter(
                **{
                    "id": id_,
                    "address": "orders.raw",
                    "group": group,
                    "reason": "permanent",
                    "body": b'{"customer": "c", "amount": 1}',
                    "partition": 0,
                    "position": position,
                    **given,
                }
            )
            for position, id_ in enumerate(ids)
        ]
        self.run(lambda ledger, _: ledger.dead_letters.bury(letters))

    def letters(self, group: str) -> list[DeadLetter]:
        return self.run(lambda ledger, _: ledger.dead_letters.list(LetterFilter(group=group)))

    def parked(self, group: str) -> list[tuple[str, str]]:
        """Id and body of what waits for the group, in its order."""

        async def due(ledger: PostgresLedger, _: PostgresDb) -> list[tuple[str, str]]:
            place = Partition("orders.raw", 0)
            taken = await ledger.partitions.take(group, place, worker_id="w", incarnation="i")
            parked = await ledger.parking.due([taken.hold], limit=100)
            return [(one.envelope.id, one.envelope.body.decode()) for one in parked]

        return self.run(due)


@pytest.fixture
def bury(shared_database_url: str) -> Buried:
    return Buried(shared_database_url)


@pytest.fixture
def dlq(with_database: CommandLine) -> Callable[..., Any]:
    place = with_database.directory / "on_the_path" / "modules" / "people"
    place.mkdir()
    (place / "__init__.py").write_text(PEOPLE)
    return lambda *argv, **given: with_database("dlq", *argv, **given)


def ids(dlq: Callable[..., Any], *argv: str) -> list[str]:
    return [line["id"] for line in dlq("list", *argv, "--output", "json").json()]


def test_letters_are_listed_newest_first_without_bodies(dlq: Callable[..., Any], bury: Buried) -> None:
    bury("one", group="listed", error="no such customer\nand more")
    bury("two", group="listed", reason="undecodable", headers={"tenant": "acme", "kind": "x"})
    assert ids(dlq, "--group", "listed") == ["two", "one"]
    [line] = dlq("list", "--id", "one", "--group", "listed", "--output", "json").json()
    assert (line["error"], line["reason"], line["address"]) == ("no such customer", "permanent", "orders.raw")
    assert not {"body", "traceback", "headers"} & line.keys()
    table = dlq("list", "--group", "listed").out.splitlines()
    assert table[0].split() == ["id", "address", "group", "reason", "attempts", "replays", "buried_at", "error"]
    assert table[1].split()[:4] == ["two", "orders.raw", "listed", "undecodable"]


def test_filters_narrow_together(dlq: Callable[..., Any], bury: Buried) -> None:
    now = datetime.now(UTC)  # noqa: TID251 - the command's own clock is the machine's
    for hours, id_ in ((1, "new"), (5, "old")):
        bury(id_, group="sifted", buried_at=now - timedelta(hours=hours), headers={"tenant": id_, "a": "b=c"})
    mine = ("--group", "sifted")
    assert ids(dlq, *mine, "--since", "2h") == ["new"]
    assert ids(dlq, *mine, "--until", "2h") == ["old"]
    assert ids(dlq, *mine, "--since", (now - timedelta(hours=6)).isoformat(), "--until", "90m") == ["old"]
    assert ids(dlq, *mine, "--header", "tenant=old", "--header", "a=b=c") == ["old"]
    assert ids(dlq, *mine, "--header", "tenant=old", "--header", "a=x") == []
    assert ids(dlq, *mine, "--reason", "permanent", "--limit", "1") == ["new"]
    assert ids(dlq, *mine, "--older-than", "new") == ["old"]
    assert ids(dlq, *mine, "--route", "people.raw") == []
    assert dlq("list", *mine, "--reason", "none").out == "no such dead letters\n"


def test_everything_that_is_wrong_with_a_filter_is_told(dlq: Callable[..., Any]) -> None:
    ran = dlq("list", "--since", "yesterday", "--until", "2026-01-15T08:00:00", "--header", "tenant")
    assert (ran.code, ran.out) == (2, "")
    assert "--since: 'yesterday'; give an instant with its offset" in ran.err
    assert "--until: '2026-01-15T08:00:00'" in ran.err
    assert "--header: 'tenant'; give it as NAME=VALUE" in ran.err


def test_one_is_shown_whole(dlq: Callable[..., Any], bury: Buried) -> None:
    bury("shown", group="shown", traceback="Traceback: here", headers={"tenant": "acme"}, error="it broke")
    said = dlq("show", "show", "--group", "shown", "--output", "json").json()
    assert said["body"] == {"customer": "c", "amount": 1}
    assert (said["traceback"], said["headers"], said["error"]) == ("Traceback: here", {"tenant": "acme"}, "it broke")
    text = dlq("show", "shown").out
    assert "tenant: acme" in text
    assert text.endswith('\ntraceback\nTraceback: here\n\nbody\n{\n  "customer": "c",\n  "amount": 1\n}\n')


@pytest.mark.parametrize(
    ("body", "shown"), [(b"not JSON", "not JSON"), (b"\xff\x00", {"base64": "/wA="}), (b"[1, 2]", [1, 2])]
)
def test_a_body_of_any_kind_is_shown(dlq: Callable[..., Any], bury: Buried, body: bytes, shown: object) -> None:
    bury("odd", group="odd", body=body)
    assert dlq("show", "odd", "--output", "json").json()["body"] == shown
    assert dlq("show", "odd").code == 0


def test_what_is_personal_is_masked_unless_it_is_asked_for(dlq: Callable[..., Any], bury: Buried) -> None:
    given = {"address": "people.raw", "group": "people"}
    bury("ann", body=b'{"number": 1, "name": "Ann Lee"}', error="Ann Lee is unknown", key="Ann Lee", **given)
    bury("bob", body=b'{"nmae": "Bob Ray"}', error="nmae: no such field; got 'Bob Ray'", **given)
    said = dlq("show", "ann", "--output", "json").json()
    assert (said["body"], said["hidden"]) == ({"number": 1, "name": "***"}, "name")
    assert (said["error"], said["key"]) == ("*** is unknown", "***")
    assert dlq("show", "bob", "--output", "json").json()["body"] == "***"
    for argv in (("show", "ann"), ("show", "bob"), ("list", "--group", "people")):
        out = dlq(*argv).out + dlq(*argv, "--output", "json").out
        assert "Ann" not in out
        assert "Bob" not in out
    assert dlq("show", "ann", "--reveal", "--output", "json").json()["body"] == {"number": 1, "name": "Ann Lee"}
    assert '"name": "Ann Lee"' in dlq("show", "ann", "--reveal").out


def test_a_body_of_an_unknown_contract_is_hidden(dlq: Callable[..., Any], bury: Buried) -> None:
    bury("stranger", group="strange", address="nobody.knows", body=b'{"name": "Ann"}')
    said = dlq("show", "stranger", "--output", "json").json()
    assert said["body"] == "***"
    assert "no module here takes it" in said["hidden"]
    assert "Ann" in dlq("show", "stranger", "--reveal").out


def test_which_one_must_be_clear(dlq: Callable[..., Any], bury: Buried) -> None:
    bury("same", group="same-a")
    bury("same", "same-too", group="same-b")
    ran = dlq("show", "same")
    assert ran.code == 2
    assert "2 dead letters are or begin with 'same', such as same of orders.raw (same-b)" in ran.err
    assert dlq("show", "same", "--group", "same-a", "--output", "json").json()["group"] == "same-a"
    assert dlq("show", "same-t", "--output", "json").json()["id"] == "same-too"
    ran = dlq("show", "nothing-like-it")
    assert (ran.code, ran.out) == (1, "")
    assert "no dead letter is 'nothing-like-it'" in ran.err


def test_a_mended_letter_is_sent_as_it_is_now(dlq: Callable[..., Any], bury: Buried, tmp_path: Any) -> None:
    bury("mend", group="mended", body=b'{"customer": "c"}', key="k", headers={"tenant": "acme", "old": "x"})
    ran = dlq("edit", "mend", "--body", "-", stdin='{"amount": "x"}')
    assert ran.code == 0
    assert "it is still no Order, and would be buried again: customer: missing" in ran.err
    (tmp_path / "body.json").write_text('{"customer": "c", "amount": 2}')
    more = ("--header", "tenant=other", "--header", "old=", "--key", "new", "--output", "json")
    ran = dlq("edit", "mend", "--body", str(tmp_path / "body.json"), *more)
    assert ran.json() == {
        "id": "mend", "address": "orders.raw", "group": "mended", "changed": ["body", "key", "headers"]
    }  # fmt: skip
    assert ran.err == ""
    [letter] = bury.letters("mended")
    assert (letter.key, letter.headers) == ("new", {"tenant": "other"})
    assert dlq("replay", "--id", "mend").code == 0
    assert bury.parked("mended") == [("mend", '{"customer": "c", "amount": 2}')]


def test_an_edit_says_what_is_changed_and_reads_what_is_there(dlq: Callable[..., Any], bury: Buried) -> None:
    ran = dlq("edit", "any")
    assert ran.code == 2
    assert "give what is to be changed: --body, --key or --header" in ran.err
    ran = dlq("edit", "any", "--body", "nowhere.json")
    assert ran.code == 2
    assert "--body: nowhere.json can't be read: No such file or directory" in ran.err


def test_letters_are_replayed_in_the_order_in_which_they_came(dlq: Callable[..., Any], bury: Buried) -> None:
    bury("z-first", "a-second", "m-third", group="again")
    ran = dlq("replay", "--group", "again", "--output", "json")
    assert ran.code == 0
    said = ran.json()
    assert (said["dry_run"], said["summary"]) == (False, {"parked": 3})
    assert [one["id"] for one in said["letters"]] == ["z-first", "a-second", "m-third"]
    assert [id_ for id_, _ in bury.parked("again")] == ["z-first", "a-second", "m-third"]
    assert bury.letters("again") == []


def test_a_dry_run_says_what_would_be_done_and_does_nothing(dlq: Callable[..., Any], bury: Buried) -> None:
    bury("dry", group="dry")
    bury("worn", group="dry", replays=3)
    ran = dlq("replay", "--group", "dry", "--dry-run", "--output", "json")
    assert ran.code == 1
    assert ran.json()["summary"] == {"would be parked": 1, "would stay": 1}
    assert "would be sent again" in dlq("replay", "--group", "dry", "--dry-run").out
    ran = dlq("drop", "--group", "dry", "--dry-run", "--output", "json")
    assert (ran.code, ran.json()["summary"]) == (0, {"would be dropped": 2})
    assert len(bury.letters("dry")) == 2
    assert bury.parked("dry") == []


def test_what_came_back_too_often_stays_and_is_told(dlq: Callable[..., Any], bury: Buried) -> None:
    bury("worn", group="loops", replays=3)
    bury("fresh", group="loops")
    ran = dlq("replay", "--group", "loops")
    assert ran.code == 1
    assert "1 sent again" in ran.out
    assert "1 stays: it came back too often" in ran.out
    assert [letter.id for letter in bury.letters("loops")] == ["worn"]
    assert dlq("replay", "--id", "worn", "--most-replays", "4").code == 0
    assert bury.letters("loops") == []


def test_an_id_that_is_not_there_is_told(dlq: Callable[..., Any], bury: Buried) -> None:
    bury("there", group="named")
    ran = dlq("replay", "--id", "there", "--id", "away", "--group", "named", "--output", "json")
    assert ran.code == 1
    assert {one["id"]: one["became"] for one in ran.json()["letters"]} == {"there": "parked", "away": "not found"}


def test_a_rate_bounds_how_many_go_at_once(dlq: Callable[..., Any], bury: Buried) -> None:
    bury(*(f"paced-{number}" for number in range(6)), group="paced")
    ran = dlq("replay", "--group", "paced", "--rate", "20", "--output", "json")
    assert (ran.code, ran.json()["summary"]) == (0, {"parked": 6})
    sql = """
        select extract(epoch from max(k.parked_at) - min(k.parked_at))::float8
        from millrace.parked k join millrace.partitions p on p.id = k.partition_id where p.group_name = 'paced'
    """
    assert bury.run(lambda _, db: db.fetch_value(sql)) >= 0.2, "six at 20 a second, five of them at once"


def test_nothing_is_replayed_or_dropped_unless_it_is_said_which(dlq: Callable[..., Any], bury: Buried) -> None:
    bury("safe", group="safe")
    for verb in ("replay", "drop"):
        ran = dlq(verb)
        assert (ran.code, ran.out) == (2, "")
        assert "say which: --id, --route, --group, --reason, --header, --since, --until, or --all" in ran.err
    assert len(bury.letters("safe")) == 1
    assert dlq("replay", "--rate", "0", "--all").code == 2


def test_more_than_a_page_is_dropped(dlq: Callable[..., Any], bury: Buried) -> None:
    bury(*(f"many-{number:03}" for number in range(450)), group="many")
    ran = dlq("drop", "--group", "many")
    assert ran.code == 0
    assert ran.out.endswith("450 dropped\n")
    assert bury.letters("many") == []
    assert dlq("drop", "--group", "many").out == "no such dead letters\n"


def test_without_a_ledger_it_says_so(millrace: CommandLine) -> None:
    millrace.set(HTTP_PORT="1")
    ran = millrace("dlq", "list")
    assert (ran.code, ran.out) == (1, "")
    assert "nothing has run here yet" in ran.err
