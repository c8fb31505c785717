"""`millrace publish` and `millrace jobs`, on the ledger of a real database."""

from __future__ import annotations

import pytest

from tests.kit.collector import collecting
from tests.kit.command_line import CommandLine

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


def publish(millrace: CommandLine, job_id: str, *more: str, steps: int = 1) -> None:
    ran = millrace("publish", "run.steps", "--json", f'{{"steps": {steps}}}', "--id", job_id, *more)
    assert ran.code == 0, ran.err


def ids(millrace: CommandLine, *more: str) -> list[str]:
    return [row["id"] for row in millrace("jobs", "list", "--output", "json", *more).json()]


def test_what_is_published_by_hand_begins_a_trace(with_database: CommandLine) -> None:
    with collecting() as collector:
        with_database.set(MILLRACE_TRACES="otlp", TRACES_OTLP_ENDPOINT=collector.url)
        ran = with_database("publish", "run.steps", "--json", '{"steps": 1}', "--id", "traced")
        assert ran.code == 0, ran.err
    [published] = collector.named("publish run.steps")
    assert any(span.name == "postgresql fetch" for span in collector.within(published))


def test_a_command_is_recorded_and_waits_for_a_worker(with_database: CommandLine) -> None:
    ran = with_database("publish", "run.steps", "--json", '{"steps": 2}', "--id", "first", "--priority", "3")
    assert (ran.code, ran.out) == (0, "job first is recorded; `millrace jobs wait first` follows it\n")
    assert "no worker is running" in ran.err
    row = with_database("jobs", "show", "first", "--output", "json").json()
    assert (row["state"], row["priority"], row["command"]["steps"]) == ("queued", 3, 2)


def test_sending_it_twice_is_harmless_and_another_under_its_id_is_refused(with_database: CommandLine) -> None:
    publish(with_database, "twice")
    ran = with_database("publish", "run.steps", "--json", '{"steps": 1}', "--id", "twice", "--output", "json")
    assert ran.json() == {
        "job_id": "twice", "address": "run.steps", "state": "queued", "became": "known", "active_id": None
    }  # fmt: skip
    ran = with_database("publish", "run.steps", "--json", '{"steps": 9}', "--id", "twice")
    assert (ran.code, ran.out) == (2, "")
    assert "twice was used for another command" in ran.err


def test_one_whose_unique_key_is_active_is_skipped_and_names_the_active_one(with_database: CommandLine) -> None:
    command = ("publish", "run.alone", "--json", '{"steps": 1, "name": "n"}', "--output", "json")
    assert with_database(*command, "--id", "alone-1").json()["became"] == "recorded"
    said = with_database(*command, "--id", "alone-2").json()
    assert (said["became"], said["active_id"]) == ("skipped", "alone-1")
    ran = with_database("jobs", "wait", "alone-2")
    assert ran.code == 0
    assert "was skipped" in ran.out


def test_a_message_can_come_from_a_file_or_from_standard_input(with_database: CommandLine) -> None:
    (with_database.directory / "command.json").write_text('{"steps": 4}')
    assert with_database("publish", "run.steps", "--file", "command.json", "--id", "of-a-file").code == 0
    assert with_database("publish", "run.steps", "--file", "-", "--id", "piped", stdin='{"steps": 5}').code == 0
    shown = [with_database("jobs", "show", one, "--output", "json").json() for one in ("of-a-file", "piped")]
    assert [row["command"]["steps"] for row in shown] == [4, 5]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("run.steps",), "give the message either by --json or by --file"),
        (("run.steps", "--json", "{}", "--file", "x"), "give the message either by --json or by --file"),
        (("run.steps", "--json", "{"), "the message is not JSON"),
        (("run.steps", "--file", "nowhere.json"), "--file: nowhere.json can't be read: No such file or directory"),
        (("run.steps", "--json", '{"steps": -1, "x": 2}'), "x: no such field"),
        (("run.steps", "--json", '{"steps": 1}', "--id", "a b"), "id: 'a b'; use 1 to 128 of the characters"),
        (("run.stpes", "--json", "{}"), "no module takes 'run.stpes'; there are: orders.raw, run.alone, run.steps"),
    ],
)
def test_what_is_wrong_with_a_message_is_told(with_database: CommandLine, argv: tuple[str, ...], said: str) -> None:
    ran = with_database("publish", *argv)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_a_stream_needs_a_running_worker(with_database: CommandLine) -> None:
    with_database.set(HTTP_PORT="1")
    ran = with_database("publish", "orders.raw", "--json", '{"customer": "c", "amount": 1}')
    assert (ran.code, ran.out) == (1, "")
    assert "0 workers run orders; start one with `millrace run orders`" in ran.err


def test_jobs_are_listed_newest_first_and_can_be_filtered(with_database: CommandLine) -> None:
    for number in range(3):
        publish(with_database, f"listed-{number}", "--correlation-id", "of-the-list")
    mine = ("--correlation-id", "of-the-list")
    assert ids(with_database, *mine) == ["listed-2", "listed-1", "listed-0"]
    assert ids(with_database, *mine, "--limit", "1") == ["listed-2"]
    assert ids(with_database, *mine, "--older-than", "listed-2") == ["listed-1", "listed-0"]
    assert ids(with_database, *mine, "--state", "done") == []
    assert len(ids(with_database, *mine, "--state", "done", "--state", "queued")) == 3
    assert ids(with_database, *mine, "--address", "run.alone") == []
    ran = with_database("jobs", "list", *mine, "--state", "failed")
    assert ran.out == "no such jobs\n"
    table = with_database("jobs", "list", *mine).out.splitlines()
    assert table[0].split()[:3] == ["id", "address", "state"]
    assert table[1].split()[:3] == ["listed-2", "run.steps", "queued"]


def test_a_beginning_of_the_id_is_enough_when_it_is_unique(with_database: CommandLine) -> None:
    for name in ("begins-one", "begins-two"):
        publish(with_database, name)
    assert with_database("jobs", "show", "begins-o", "--output", "json").json()["id"] == "begins-one"
    ran = with_database("jobs", "show", "begins")
    assert ran.code == 2
    assert "2 jobs begin with 'begins', such as begins-two, begins-one; give more of it" in ran.err
    ran = with_database("jobs", "show", "nothing-like-it")
    assert ran.code == 1
    assert "no job is 'nothing-like-it'" in ran.err


def test_a_queued_job_is_cancelled_and_queued_again(with_database: CommandLine) -> None:
    publish(with_database, "moody")
    assert with_database("jobs", "cancel", "moody").out == "job moody is cancelled\n"
    ran = with_database("jobs", "wait", "moody")
    assert (ran.code, ran.out) == (1, "")
    assert "job moody cancelled at attempt 0" in ran.err
    assert with_database("jobs", "retry", "moody", "--output", "json").json() == {"id": "moody", "state": "queued"}
    ran = with_database("jobs", "retry", "moody")
    assert ran.code == 1
    assert "moody" in ran.err


def test_waiting_has_a_deadline_and_ends_with_the_job(with_database: CommandLine) -> None:
    publish(with_database, "patient")
    ran = with_database("jobs", "wait", "patient", "--timeout-s", "0.2")
    assert (ran.code, ran.out) == (1, "")
    assert "job patient has not ended after 0.2 s; it goes on" in ran.err
    row = with_database("run", "steps", "2", "--output", "json").json()
    ran = with_database("jobs", "wait", row["id"])
    assert ran.code == 0
    assert ran.out.startswith(f"job {row['id']} is done\n")


def test_a_database_without_a_ledger_is_said_and_left_as_it_is(millrace: CommandLine, empty_url: str) -> None:
    millrace.set(DB_POSTGRES_URL=empty_url, HTTP_PORT="1")
    for argv in (("jobs", "list"), ("publish", "run.steps", "--json", '{"steps": 1}')):
        ran = millrace(*argv)
        assert (ran.code, ran.out) == (1, "")
        assert "there is no ledger on postgresql://" in ran.err
        assert "no worker answers at http://127.0.0.1:1. Start a worker" in ran.err
    states = {row["state"] for row in millrace("migrate", "status", "--output", "json").json()}
    assert states == {"pending"}


def test_without_anything_that_ever_ran_it_says_so_and_makes_nothing(millrace: CommandLine) -> None:
    millrace.set(HTTP_PORT="1")
    ran = millrace("jobs", "list")
    assert ran.code == 1
    assert "nothing has run here yet" in ran.err
    assert not (millrace.directory / "home").exists()
    assert "--db memory keeps one for each process" in millrace("jobs", "list", "--db", "memory").err
