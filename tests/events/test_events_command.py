"""quest-integrity events: which events, in which order, in which form."""

import csv
import io
import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.support import factory
from tests.support.cli import Ran, run, spawn
from tests.support.database import url_of

Connection = psycopg.Connection[Any]

COLUMNS = [
    "id",
    "at",
    "transaction",
    "kind",
    "quest_id",
    "user_id",
    "username",
    "application_id",
    "participant_id",
    "before",
    "after",
    "actor",
    "application_name",
]


@pytest.fixture
def log(migrated: Connection) -> Connection:
    """Quest 1: bob approved, then kicked; quest 2: eve joined, then a stale write was corrected."""
    migrated.autocommit = True
    bob, eve = factory.user(migrated, username="bob"), factory.user(migrated, username="eve")
    first, second = factory.quest(migrated, id=1), factory.quest(migrated, id=2)
    application_id = factory.application(migrated, first, bob)
    migrated.execute("update applications_application set status = 'approved' where id = %s", [application_id])
    migrated.execute("update applications_application set status = 'kicked' where id = %s", [application_id])
    factory.participant(migrated, second, eve)
    migrated.execute("set application_name = 'nightly import'")
    migrated.execute("update quests_quest set status = 'open' where id = 2")
    return migrated


def listed(connection: Connection, *arguments: object) -> list[dict[str, Any]]:
    ran = run(connection, "events", "--format", "json", *arguments)
    assert ran.code == 0
    found: list[dict[str, Any]] = json.loads(ran.out)
    return found


def kinds(connection: Connection, *arguments: object) -> list[str]:
    return [event["kind"] for event in listed(connection, *arguments)]


def refused(connection: Connection, *arguments: object) -> str:
    ran = run(connection, "events", *arguments)
    assert (ran.code, ran.out) == (2, "")
    return ran.err.splitlines()[-1]


class TestWhich:
    def test_all_of_them_newest_first(self, log: Connection) -> None:
        assert kinds(log) == [
            "quest_write_corrected",
            "participant_joined",
            "participant_dropped",
            "application_ended",
            "application_approved",
        ]

    def test_of_a_quest(self, log: Connection) -> None:
        assert kinds(log, "--quest", 2) == ["quest_write_corrected", "participant_joined"]
        assert kinds(log, "--quest", 3) == []

    def test_of_a_user(self, log: Connection) -> None:
        assert {event["username"] for event in listed(log, "--user", "bob")} == {"bob"}
        assert len(listed(log, "--user", "bob")) == 3

    def test_of_a_kind_or_several(self, log: Connection) -> None:
        assert kinds(log, "--kind", "application_ended") == ["application_ended"]
        several = ["--kind", "application_approved", "--kind", "participant_joined"]
        assert kinds(log, *several) == ["participant_joined", "application_approved"]

    def test_since_a_time(self, log: Connection) -> None:
        row = log.execute("select at from integrity.event where kind = 'participant_joined'").fetchone()
        assert row is not None
        assert kinds(log, "--since", row[0].isoformat()) == ["quest_write_corrected", "participant_joined"]
        assert len(kinds(log, "--since", "yesterday")) == 5
        assert kinds(log, "--since", "tomorrow") == []

    def test_the_newest_few(self, log: Connection) -> None:
        assert kinds(log, "--limit", 2) == ["quest_write_corrected", "participant_joined"]

    def test_together(self, log: Connection) -> None:
        arguments = ["--quest", 1, "--user", "bob", "--since", "yesterday", "--kind", "application_ended", "--limit", 1]
        assert kinds(log, *arguments) == ["application_ended"]

    def test_of_a_user_or_quest_that_is_gone(self, log: Connection) -> None:
        log.execute(
            "insert into integrity.event (kind, quest_id, user_id, actor, application_name) "
            "values ('undone', 77, gen_random_uuid(), 'a', '')"
        )
        (event,) = listed(log, "--quest", 77)
        assert event["username"] is None
        assert event["user_id"] in run(log, "events", "--quest", 77).out


class TestForm:
    def ran(self, connection: Connection, form: str, *arguments: object) -> Ran:
        ran = run(connection, "events", "--format", form, *arguments)
        assert ran.code == 0
        return ran

    def test_columns_in_their_order(self, log: Connection) -> None:
        assert list(listed(log)[0]) == COLUMNS
        lines = self.ran(log, "ndjson").out.splitlines()
        assert [list(json.loads(line)) for line in lines] == [COLUMNS] * 5
        assert next(csv.reader(io.StringIO(self.ran(log, "csv").out))) == COLUMNS

    def test_the_same_in_every_form(self, log: Connection) -> None:
        as_json = listed(log)
        assert [json.loads(line) for line in self.ran(log, "ndjson").out.splitlines()] == as_json
        as_csv = list(csv.DictReader(io.StringIO(self.ran(log, "csv").out)))
        for row, event in zip(as_csv, as_json, strict=True):
            for column, value in event.items():
                found = json.loads(row[column]) if isinstance(value, dict) else row[column]
                assert found == ("" if value is None else value if isinstance(value, dict) else str(value))

    def test_what_an_event_says(self, log: Connection) -> None:
        event = listed(log, "--kind", "quest_write_corrected")[0]
        eve = str(log.execute("select id from users_user where username = 'eve'").fetchone()[0])  # type: ignore[index]
        assert event["before"] == {"quest_status": "open", "assigned_to_id": eve}
        assert event["after"] == {"quest_status": "in-progress", "assigned_to_id": eve}
        assert event["application_name"] == "nightly import"
        assert datetime.now(UTC) - datetime.fromisoformat(event["at"]) < timedelta(minutes=5)

    def test_a_line_for_people(self, log: Connection) -> None:
        ran = self.ran(log, "table")
        assert len(ran.out.splitlines()) == 5
        assert "participant_joined     quest 2        eve" in ran.out
        assert "quest_status: open -> in-progress" in ran.out.splitlines()[0]
        assert ran.out.splitlines()[0].endswith("nightly import]")

    def test_clients_cannot_draw_on_the_terminal(self, log: Connection) -> None:
        log.execute("set integrity.actor = E'\\x1b[2Jgone\\nsecond line'")
        log.execute("update quests_quest set status = 'open' where id = 2")
        ran = self.ran(log, "table", "--limit", "1")
        assert len(ran.out.splitlines()) == 1
        assert r"\x1b[2Jgone\nsecond line" in ran.out

    @pytest.mark.parametrize(
        ("form", "nothing"), [("table", ""), ("json", "[]\n"), ("ndjson", ""), ("csv", ",".join(COLUMNS) + "\n")]
    )
    def test_no_events(self, form: str, nothing: str, migrated: Connection) -> None:
        assert self.ran(migrated, form).out == nothing


class TestRefusals:
    def test_an_unknown_kind_names_the_kinds(self, log: Connection) -> None:
        said = refused(log, "--kind", "coffee_break")
        assert "'coffee_break'" in said
        for (kind,) in log.execute("select kind from integrity.event_kind"):
            assert kind in said

    def test_an_unknown_user(self, log: Connection) -> None:
        assert "there is no user 'mallory'" in refused(log, "--user", "mallory")

    @pytest.mark.parametrize("time", ["soon", "2026-13-01", "'; drop table integrity.event --", ""])
    def test_a_time_that_is_none(self, time: str, log: Connection) -> None:
        assert f"error: {time!r} is no time: write 2026-11-01" in refused(log, "--since", time)

    @pytest.mark.parametrize("arguments", [["--limit", "0"], ["--quest", "one"], ["--format", "xml"]])
    def test_what_makes_no_sense(self, arguments: list[str], log: Connection) -> None:
        refused(log, *arguments)

    def test_a_database_that_is_not_migrated(self, empty: Connection) -> None:
        assert "not migrated" in refused(empty)


def test_a_long_log_passes_in_bounded_memory(log: Connection) -> None:
    log.execute(
        "insert into integrity.event (kind, quest_id, before, after, actor, application_name) "
        "select 'application_ended', number, jsonb_build_object('filler', repeat('x', 300)), '{}', 'a', 'b' "
        "from generate_series(1, 60000) as number"
    )

    def peak(*arguments: object) -> tuple[int, int]:
        """Return the number of lines and the most memory it took, in KiB."""
        with spawn(url_of(log), "events", "--format", "ndjson", *arguments) as process:
            assert process.stdout is not None
            lines = sum(1 for _ in process.stdout)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return lines, usage.ru_maxrss

    few, of_few = peak("--limit", 100)
    many, of_many = peak()

    assert (few, many) == (100, 60_005)
    # All of them are 40 MB of text.
    assert of_many - of_few < 15_000, f"{of_few:,} KiB for 100, {of_many:,} KiB for all"


def test_an_empty_log(migrated: psycopg.Connection[Any]) -> None:
    assert "was logged since the layer was attached" in run(migrated, "events").err
    assert "`quest-integrity events` without options" in run(migrated, "events", "--quest", 1).err
