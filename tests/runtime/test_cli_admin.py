"""`millrace migrate`, `config`, `doctor` and `modules`: what looks after an installation."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from runtime.cli import doctor
from tests.kit.command_line import CommandLine

# Migrations.


@pytest.mark.integration
def test_migrations_go_up_down_and_up(millrace: CommandLine, empty_url: str) -> None:
    millrace.set(DB_POSTGRES_URL=empty_url)

    def states() -> list[str]:
        return [row["state"] for row in millrace("migrate", "status", "--output", "json").json()]

    count = len(states())
    assert count >= 2
    assert states() == ["pending"] * count
    up = millrace("migrate", "up", "--output", "json").json()
    assert [row["state"] for row in up] == ["applied"] * count
    assert millrace("migrate", "up").out == "nothing was pending\n"
    down = millrace("migrate", "down", "--output", "json").json()
    assert [row["number"] for row in down] == [up[-1]["number"]]
    assert states() == ["applied"] * (count - 1) + ["pending"]
    assert millrace("migrate", "down", str(count)).code == 0
    assert states() == ["pending"] * count
    assert millrace("migrate", "down").out == "nothing was applied\n"


@pytest.mark.integration
def test_migrations_go_up_by_phase(millrace: CommandLine, empty_url: str) -> None:
    millrace.set(DB_POSTGRES_URL=empty_url)
    assert millrace("migrate", "up", "--phase", "after").out == "nothing was pending\n"
    up = millrace("migrate", "up", "--phase", "before", "--output", "json").json()
    assert {row["phase"] for row in up} == {"before"}
    refused = millrace("migrate", "up", "--phase", "during")
    assert refused.code == 2
    assert "it can be after, all, before; got 'during'" in refused.err
    assert "--phase" in millrace("migrate", "up", "--help").out


@pytest.mark.integration
def test_production_is_rolled_back_only_when_it_is_said(millrace: CommandLine, empty_url: str) -> None:
    millrace.set(DB_POSTGRES_URL=empty_url)
    assert millrace("migrate", "up").code == 0
    ran = millrace("migrate", "down", "--env", "production")
    assert (ran.code, ran.out) == (2, "")
    assert "--yes: rolling back drops data; in production it must be given" in ran.err
    assert millrace("migrate", "down", "--env", "production", "--yes").code == 0


@pytest.mark.integration
def test_a_schema_that_is_behind_is_not_touched_without_leave(millrace: CommandLine, empty_url: str) -> None:
    millrace.set(DB_POSTGRES_URL=empty_url)
    millrace("migrate", "up")
    millrace("migrate", "down")
    ran = millrace("run", "steps", "1", "--no-auto-migrate")
    assert (ran.code, ran.out) == (2, "")
    assert "migrations are pending" in ran.err
    assert "run `millrace migrate up`" in ran.err
    assert millrace("jobs", "list", "--env", "production").code == 2
    assert millrace("run", "steps", "1").code == 0


# Settings.


def test_settings_are_shown_with_their_origin_and_without_secrets(millrace: CommandLine) -> None:
    (millrace.directory / ".env").mkdir()
    (millrace.directory / ".env" / "local.env").write_text("JOB_SLOTS=3\n")
    millrace.set(DB_POSTGRES_URL="postgresql://user:hidden-word@host/db")
    ran = millrace("config", "show", "--output", "json", "--cache", "memory")
    rows = {row["key"]: row for row in ran.json()}
    assert rows["JOB_SLOTS"] == {"key": "JOB_SLOTS", "value": "3", "source": ".env/local.env:1"}
    assert rows["DB_POSTGRES_URL"]["value"] == "postgresql://user:***@host/db"
    assert rows["MILLRACE_CACHE"]["source"] == "command line, --cache"
    assert rows["HTTP_PORT"]["source"] == "default"
    assert "hidden-word" not in ran.out + millrace("config", "show").out


def test_a_key_that_is_no_setting_is_warned_of(millrace: CommandLine) -> None:
    millrace.set(HTTP_PROT="80")
    ran = millrace("config", "show")
    assert ran.code == 0
    assert "HTTP_PROT is no setting; did you mean HTTP_PORT?" in ran.err


def test_a_check_tells_what_is_wrong_with_settings_and_modules(millrace: CommandLine) -> None:
    millrace.set(HTTP_PORT="a lot", MODULES="steps,broken,ordres")
    ran = millrace("config", "check")
    assert (ran.code, ran.out) == (2, "")
    assert "HTTP_PORT (environment) is 'a lot'" in ran.err
    millrace.set(HTTP_PORT="80")
    ran = millrace("config", "check", "--output", "json")
    [error] = ran.errors()
    assert len(error["faults"]) == 2
    millrace.set(MODULES="steps,orders")
    assert millrace("config", "check").out == "the settings are fine\n"


# Modules.


def test_a_fault_of_the_catalog_fails_the_check_and_is_told_once(millrace: CommandLine) -> None:
    place = millrace.directory / "catalog" / "datasets"
    place.mkdir(parents=True)
    (place / "orders.yaml").write_text("name: orders\ncolums: []\n")
    ran = millrace("config", "check", "--output", "json")
    assert ran.code == 2
    assert sum("colums" in fault for line in ran.errors() for fault in line["faults"]) == 1


def test_a_module_is_shown_with_what_it_guarantees(millrace: CommandLine) -> None:
    shown = millrace("modules", "show", "orders", "--output", "json").json()
    assert (shown["name"], shown["kind"], shown["needs"]) == ("orders", "service", ["db"])
    assert shown["routes"][0]["guarantee"] == "transactional"
    steps = millrace("modules", "show", "steps", "--output", "json").json()
    assert steps["command"] == "run.steps"
    assert [argument["name"] for argument in steps["arguments"]][:2] == ["steps", "name"]
    ran = millrace("modules", "show", "orders")
    assert ran.code == 0
    assert "transactional" in ran.out
    ran = millrace("modules", "show", "ordres")
    assert ran.code == 2
    assert "did you mean orders?" in ran.err


# The doctor.


def findings(millrace: CommandLine, *more: str, code: int) -> dict[str, dict[str, object]]:
    ran = millrace("doctor", "--output", "json", *more)
    assert ran.code == code, ran.out + ran.err
    found: dict[str, dict[str, object]] = {}
    for row in ran.json():
        if found.get(row["part"], {}).get("state") != "failed":
            found[row["part"]] = row
    return found


@pytest.mark.integration
def test_the_doctor_looks_at_everything_that_a_worker_needs(with_database: CommandLine) -> None:
    with_database.set(MODULES="steps,orders", HTTP_PORT="0")
    found = findings(with_database, code=0)
    assert list(found) == [
        "python", "packages", "settings", "modules", "disk", "db security", "catalog", "port",
        "db", "ledger", "files", "cache", "secrets", "bus", "migrations",
    ]  # fmt: skip
    assert {row["state"] for part, row in found.items() if part != "packages"} == {"ok"}
    assert found["modules"]["detail"] == "steps, orders"
    assert isinstance(found["db"]["ms"], float)


@pytest.mark.integration
def test_the_doctor_finds_what_is_wrong(millrace: CommandLine, shared_database_url: str) -> None:
    datasets = millrace.directory / "catalog" / "datasets"
    datasets.mkdir(parents=True)
    (datasets / "trips.yaml").write_text("name: trips\ncolumns: 7\n")
    there_is_not = urlunsplit(urlsplit(shared_database_url)._replace(path="/not_this_one"))
    millrace.set(DB_POSTGRES_URL=there_is_not, HTTP_PORT="0")
    found = findings(millrace, code=1)
    failed = {part for part, row in found.items() if row["state"] == "failed"}
    assert failed >= {"modules", "catalog", "db", "ledger"}
    assert "trips.yaml" in str(found["catalog"]["detail"])
    assert found["files"]["state"] == "ok", "one that fails keeps the others from nothing"


def test_the_doctor_goes_on_as_far_as_it_can_with_wrong_settings(millrace: CommandLine) -> None:
    millrace.set(HTTP_PORT="a lot")
    found = findings(millrace, code=2)
    assert "HTTP_PORT" in str(found["settings"]["detail"])
    assert found["python"]["state"] == "ok"


def test_the_lock_is_compared_with_what_is_installed() -> None:
    lock = "\n".join(
        [
            "# made by uv",
            "one==1.0 \\",
            "    --hash=sha256:00",
            "two==2.0 ; sys_platform == 'linux' \\",
            "    --hash=sha256:00",
            "three==3.0; python_version < '3.12'",
        ]
    )
    installed = {"one": "1.0", "two": "2.1"}
    assert doctor.differences(lock, installed.get) == (2, ["two 2.1 (locked: 2.0)"])


def test_without_a_lock_there_is_nothing_to_compare(tmp_path: Path) -> None:
    assert list(doctor._packages(tmp_path)) == []


# Starting anew.


def test_a_reset_wants_to_be_told_twice(millrace: CommandLine) -> None:
    ran = millrace("reset")
    assert (ran.code, ran.out) == (2, "")
    assert "--yes" in ran.err
