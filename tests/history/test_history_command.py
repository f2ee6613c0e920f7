"""quest-integrity audit --record and history: what is kept, what is new, fixed or old, and what it costs."""

import csv
import io
import json
import os
from typing import Any

import psycopg
import pytest

from tests.support.cli import run, spawn
from tests.support.database import another, url_of

Connection = psycopg.Connection[Any]

TREND = [
    "run",
    "started_at",
    "duration",
    "actor",
    "errors",
    "warnings",
    "new_violations",
    "fixed_violations",
    "guard_damage",
]
CHANGE = ["change", "rule", "severity", "key", "quest_id", "user_id", "first_seen", "gone_at"]

CREATE_SELF_MADE = """
create table public.self_made (key text primary key);
create view integrity.self_made as
select
  'self_made'::text as rule, 'warning'::text as severity, null::bigint as quest_id, null::uuid as user_id,
  null::bigint as application_id, null::bigint as participant_id, 'found'::text as message, '{}'::jsonb as expected,
  '{}'::jsonb as found, null::text as repair, key
from public.self_made;
select integrity.add_rule('self_made', 'warning', 'self-made', 'A rule of the test.');
"""


@pytest.fixture
def made(migrated: Connection) -> Connection:
    """A database whose violations are the rows of a table, self_made."""
    migrated.autocommit = True
    migrated.execute(CREATE_SELF_MADE)
    return migrated


def record(connection: Connection) -> None:
    assert run(connection, "audit", "--record").code in (0, 1)


def listed(connection: Connection, *arguments: object) -> list[dict[str, Any]]:
    ran = run(connection, "history", "--format", "json", *arguments)
    assert ran.code == 0
    found: list[dict[str, Any]] = json.loads(ran.out)
    return found


def changes(connection: Connection) -> dict[str, str]:
    return {row["key"]: row["change"] for row in listed(connection, "--detailed")}


class TestRecord:
    def test_the_incident(self, sync_001: Connection) -> None:
        ran = run(sync_001, "audit", "--record")
        assert ran.code == 1
        assert "recorded as run 1" in ran.err
        (row,) = listed(sync_001)
        assert list(row) == TREND
        assert (row["errors"], row["warnings"], row["new_violations"], row["fixed_violations"]) == (2, 0, 2, 0)
        counts = sync_001.execute("select rule, violations, quests, users from integrity.audit_count where run = 1")
        assert set(counts) == set(
            sync_001.execute("select rule, violations, quests, users from integrity.violation_summary")
        )

    def test_after_a_repair_it_keeps_what_is_left(self, sync_001: Connection) -> None:
        record(sync_001)
        assert run(sync_001, "audit", "--record", "--fix-issues", "--yes", "--missing-participant", "create").code == 0
        last, first = listed(sync_001)
        assert (last["errors"], last["new_violations"], last["fixed_violations"]) == (0, 0, 2)
        assert (first["errors"], first["new_violations"]) == (2, 2)
        assert set(changes(sync_001).values()) == {"fixed"}

    def test_an_audit_alone_keeps_nothing(self, sync_001: Connection) -> None:
        run(sync_001, "audit")
        assert listed(sync_001) == []

    @pytest.mark.parametrize("part", [["--quest", "5"], ["--user", "admin"], ["--rule", "duplicate_pending"]])
    def test_only_whole_audits(self, part: list[str], sync_001: Connection) -> None:
        ran = run(sync_001, "audit", "--record", *part)
        assert (ran.code, ran.out) == (2, "")
        assert "--record keeps audits of everything" in ran.err
        assert listed(sync_001) == []

    def test_the_damage_that_the_guards_see(self, migrated: Connection) -> None:
        migrated.autocommit = True
        migrated.execute("alter table quests_quest disable trigger integrity_derive_on_update")
        assert run(migrated, "audit", "--record").code == 3
        assert [row["guard_damage"] for row in listed(migrated)] == [1]
        assert migrated.execute("select damage from integrity.audit_run").fetchone() == (
            ["trigger integrity_derive_on_update on public.quests_quest: disabled"],
        )

    def test_two_at_once_wait_for_each_other(self, made: Connection) -> None:
        with another(made) as first, another(made) as second:
            first.execute("select integrity.record_audit()")
            second.execute("set lock_timeout = '50ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                second.execute("select integrity.record_audit()")

    def test_who_ran_it(self, made: Connection) -> None:
        made.execute("set integrity.actor = 'nightly'")
        made.execute("select integrity.record_audit()")
        assert listed(made)[0]["actor"] == "nightly"


class TestChanges:
    def test_new_old_fixed_and_back_again(self, made: Connection) -> None:
        made.execute("insert into public.self_made values ('a'), ('b')")
        record(made)
        assert changes(made) == {"a": "new", "b": "new"}
        made.execute("update public.self_made set key = 'c' where key = 'a'")
        record(made)
        assert changes(made) == {"a": "fixed", "b": "old", "c": "new"}
        assert (listed(made)[0]["new_violations"], listed(made)[0]["fixed_violations"]) == (1, 1)
        made.execute("insert into public.self_made values ('a')")
        record(made)
        assert changes(made) == {"a": "new", "b": "old", "c": "old"}
        assert [row["warnings"] for row in listed(made)] == [3, 2, 2]

    def test_columns_and_order(self, made: Connection) -> None:
        made.execute("insert into public.self_made values ('z'), ('y')")
        record(made)
        made.execute("insert into public.self_made values ('x')")
        record(made)
        rows = listed(made, "--detailed")
        assert list(rows[0]) == CHANGE
        assert [(row["change"], row["key"]) for row in rows] == [("new", "x"), ("old", "y"), ("old", "z")]
        ran = run(made, "history", "--detailed", "--format", "csv")
        assert next(csv.reader(io.StringIO(ran.out))) == CHANGE


class TestShown:
    def test_for_people(self, sync_001: Connection) -> None:
        record(sync_001)
        ran = run(sync_001, "history", "--detailed")
        assert ran.code == 0
        assert "last audit: 2 new, 0 fixed, 0 old" in ran.out
        assert sum(line.startswith("new    ") for line in ran.out.splitlines()) == 2

    def test_the_same_in_every_form(self, made: Connection) -> None:
        made.execute("insert into public.self_made values ('a'), ('b')")
        record(made)
        record(made)
        as_json = listed(made)
        assert [row["run"] for row in as_json] == [2, 1]
        as_lines = run(made, "history", "--format", "ndjson").out.splitlines()
        assert [json.loads(line) for line in as_lines] == as_json
        as_csv = list(csv.DictReader(io.StringIO(run(made, "history", "--format", "csv").out)))
        assert as_csv == [{name: "" if value is None else str(value) for name, value in row.items()} for row in as_json]

    def test_the_newest_few(self, made: Connection) -> None:
        for _ in range(3):
            record(made)
        assert [row["run"] for row in listed(made, "--limit", 2)] == [3, 2]

    def test_nothing_yet(self, migrated: Connection) -> None:
        ran = run(migrated, "history")
        assert (ran.code, ran.out) == (0, "")
        assert "no audit was recorded: record one with `quest-integrity audit --record`" in ran.err
        assert listed(migrated, "--detailed") == []


class TestRetention:
    def test_old_runs_go_the_last_stays(self, made: Connection) -> None:
        made.execute("insert into public.self_made values ('a'), ('b')")
        record(made)
        made.execute("delete from public.self_made where key = 'a'")
        record(made)
        made.execute("delete from public.self_made where key = 'b'")
        record(made)
        made.execute("update integrity.audit_run set started_at = started_at - interval '2 years'")
        ran = run(made, "history", "--keep", "12 months")
        assert (ran.code, "audits forgotten: 2" in ran.err) == (0, True)
        assert [row["run"] for row in listed(made)] == [3]
        left = made.execute(
            "select (select count(*) from integrity.audit_violation), count(distinct run) from integrity.audit_count"
        )
        assert left.fetchone() == (0, 1)

    def test_what_is_still_there_is_still_known(self, made: Connection) -> None:
        made.execute("insert into public.self_made values ('a')")
        record(made)
        record(made)
        made.execute("update integrity.audit_run set started_at = started_at - interval '2 years' where id = 1")
        run(made, "history", "--keep", "12 months")
        assert changes(made) == {"a": "old"}

    @pytest.mark.parametrize("age", ["soon", "-1 day", ""])
    def test_an_age_that_is_none(self, age: str, made: Connection) -> None:
        ran = run(made, "history", f"--keep={age}")
        assert (ran.code, ran.out) == (2, "")
        assert f"error: cannot keep audits for {age!r}" in ran.err


def test_many_violations_pass_in_bounded_memory_and_time(made: Connection) -> None:
    """Set-based, in the database: a nested loop over these would take hours."""

    def peak(*arguments: object) -> int:
        with spawn(url_of(made), *arguments, stdout=None) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_maxrss

    small = peak("audit", "--record")
    made.execute("insert into public.self_made select 'key ' || number from generate_series(1, 100000) as number")
    large = peak("audit", "--record")
    made.execute("delete from public.self_made where key like '%7'")
    again = peak("audit", "--record")

    assert listed(made)[0]["fixed_violations"] == 10_000
    assert max(large, again) - small < 10_000, f"{small:,} KiB for none, {large:,} and {again:,} KiB for 100,000"
