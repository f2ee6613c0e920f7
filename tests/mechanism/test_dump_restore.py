"""pg_dump and pg_restore carry the layer whole: the law, the mechanism, and the rows as they were."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from checks import ddl, law
from tests.law.cases import CASES, Case
from tests.law.refusal import disable_triggers, drop_constraint, expected_refusal, rules_broken, run
from tests.mechanism.state import State, admit, assert_sound, events, state
from tests.mechanism.statements import delete_many, update_many
from tests.support import factory, plant
from tests.support.catalog import Snapshot, changed, snapshot
from tests.support.database import url_of
from tests.support.programs import program, psql
from tests.support.proof import attach

_Connection = psycopg.Connection[Any]

APPLICATIONS, PARTICIPANTS, QUESTS = "applications_application", "quests_questparticipant", "quests_quest"


def pg(name: str, *arguments: str | Path) -> bytes:
    """Run one of PostgreSQL's programs; what it says on stderr is a failure too."""
    done = subprocess.run([program(name), *arguments], capture_output=True, check=False)
    assert (done.returncode, done.stderr.decode()) == (0, "")
    return done.stdout


def by_custom_format(source: _Connection, target: _Connection, folder: Path) -> None:
    dump = folder / "dump"
    pg("pg_dump", "--format=custom", f"--file={dump}", url_of(source))
    pg("pg_restore", "--exit-on-error", f"--dbname={url_of(target)}", dump)


def by_parallel_jobs(source: _Connection, target: _Connection, folder: Path) -> None:
    dump = folder / "dump"
    pg("pg_dump", "--format=directory", "--jobs=2", f"--file={dump}", url_of(source))
    pg("pg_restore", "--exit-on-error", "--jobs=2", f"--dbname={url_of(target)}", dump)


def by_plain_sql(source: _Connection, target: _Connection, folder: Path) -> None:
    psql(target, pg("pg_dump", url_of(source)).decode())


Copy = Callable[[_Connection, _Connection, Path], None]
every_way = pytest.mark.parametrize(
    "copy", [by_custom_format, by_parallel_jobs, by_plain_sql], ids=lambda function: function.__name__
)


def live(connection: _Connection) -> None:
    """Leave a quest in each state, made through the mechanism, with everything that it logs on the way."""
    for status in ("open", "completed"):
        quest_id = factory.quest(connection)
        admit(connection, quest_id)
        _, _, leaving = admit(connection, quest_id)
        _, kicked, _ = admit(connection, quest_id, "in_progress")
        bob, _, _ = admit(connection, quest_id, "completed")
        factory.application(connection, quest_id, factory.user(connection))
        factory.participant(connection, quest_id, factory.user(connection))
        # Not the earliest to have joined: a restore must keep the choice, which nothing could derive.
        update_many(connection, QUESTS, [quest_id], {"status": "in-progress", "assigned_to_id": bob})
        delete_many(connection, PARTICIPANTS, [leaving])
        update_many(connection, APPLICATIONS, [kicked], {"status": "kicked"})
        update_many(connection, QUESTS, [quest_id], {"status": status})
    factory.quest(connection)
    connection.commit()


def contents(connection: _Connection, *schemas: str) -> dict[str, list[str]]:
    """Read every row of every table as text."""
    tables = connection.execute(
        "select oid::regclass::text from pg_class"
        " where relkind = 'r' and relnamespace = any(%s::regnamespace[]) order by 1",
        [list(schemas)],
    ).fetchall()
    found = {
        table: [
            row
            for (row,) in connection.execute(
                sql.SQL("select t::text from {} as t order by 1").format(sql.SQL(table))  # type: ignore[arg-type]
            )
        ]
        for (table,) in tables
    }
    connection.rollback()
    return found


def catalog(connection: _Connection) -> Snapshot:
    """Read the catalog with everybody's rights spelled out: a dump leaves out a GRANT of what goes without saying."""
    found = snapshot(connection)
    defaults = dict(connection.execute("select rolname, acldefault('r', oid)::text[] from pg_roles").fetchall())
    connection.rollback()
    for (kind, name), definition in found.items():
        # As it comes from the snapshot: kind, persistence, owner, rights, …
        if kind == "relation" and definition[3] is None:
            owner = definition[2]
            found[kind, name] = [*definition[:3], defaults[owner], *definition[4:]]
    return found


@every_way
def test_restored_database_is_the_same(copy: Copy, migrated: _Connection, empty: _Connection, tmp_path: Path) -> None:
    live(migrated)

    copy(migrated, empty, tmp_path)

    assert changed(catalog(migrated), catalog(empty)) == {}
    rows = contents(empty, "public", "integrity")
    assert rows == contents(migrated, "public", "integrity")
    assert len(rows[QUESTS]) == 3
    assert len(rows[PARTICIPANTS]) == 8
    assert rules_broken(empty) == set()
    assert (
        empty.execute("select name from integrity.law_status where state <> 'enforced' and chosen is null").fetchall()
        == []
    )
    assert empty.execute("select conname from pg_constraint where not convalidated").fetchall() == []


@pytest.fixture(scope="module")
def dumped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dump") / "migrated"


@pytest.fixture
def restored(dumped: Path, request: pytest.FixtureRequest, empty: _Connection) -> _Connection:
    """A database restored from the dump of a migrated one."""
    if not dumped.exists():
        migrated: _Connection = request.getfixturevalue("migrated")
        live(migrated)
        pg("pg_dump", "--format=custom", f"--file={dumped}", url_of(migrated))
    pg("pg_restore", "--exit-on-error", f"--dbname={url_of(empty)}", dumped)
    return empty


def test_the_mechanism_works_there(restored: _Connection) -> None:
    quest_id = factory.quest(restored)
    user_id, application_id, participant_id = admit(restored, quest_id)
    restored.commit()
    update_many(restored, QUESTS, [quest_id], {"status": "open"})
    assert state(restored, quest_id) == State("in-progress", user_id, {application_id: "approved"}, {user_id: "joined"})

    delete_many(restored, PARTICIPANTS, [participant_id])

    assert state(restored, quest_id) == State("open", None, {application_id: "kicked"})
    assert events(restored, quest_id) == [
        "application_approved",
        "application_ended",
        "participant_dropped",
        "quest_write_corrected",
    ]
    assert_sound(restored)


# The first way of breaking each constraint stands for the others.
ONE_OF_EACH = list({case.constraint: case for case in reversed(CASES)}.values())


@pytest.mark.parametrize("case", ONE_OF_EACH, ids=lambda case: case.constraint)
def test_the_law_holds_there(case: Case, restored: _Connection) -> None:
    expected = expected_refusal(restored, case.constraint)
    disable_triggers(restored)

    assert run(restored, case) == expected

    assert rules_broken(restored) == set()


def test_rows_alone_into_another_migrated_database(migrated: _Connection, empty: _Connection, tmp_path: Path) -> None:
    """With triggers disabled, as pg_restore's manual says: they would derive the quests anew as the rows come in."""
    by_custom_format(migrated, empty, tmp_path)
    live(migrated)
    dump = tmp_path / "rows"
    # Of the foreign keys that go in circles, which is what --disable-triggers is for, it warns.
    subprocess.run(
        [program("pg_dump"), "--data-only", "--schema=public", "--format=custom", f"--file={dump}", url_of(migrated)],
        check=True,
        capture_output=True,
    )

    pg(
        "pg_restore",
        "--data-only",
        "--disable-triggers",
        "--single-transaction",
        "--exit-on-error",
        f"--dbname={url_of(empty)}",
        dump,
    )

    assert contents(empty, "public") == contents(migrated, "public")
    assert rules_broken(empty) == set()
    assert empty.execute("select count(*) from integrity.event").fetchone() == (0,)


@every_way
def test_broken_database_is_restored_as_broken_as_it_was(
    copy: Copy, app_only: _Connection, empty: _Connection, tmp_path: Path
) -> None:
    """NOT VALID constraints stay so, the old rows get in, and new ones of their kind do not."""
    for name, plant_one in plant.RULES.items():
        if name != "duplicate_participant":
            plant_one(app_only)
    attach(app_only)
    violations = "select rule, key from integrity.violations order by key"
    states = "select name, state, statement from integrity.law_status order by name"
    assert len(app_only.execute(violations).fetchall()) > 10

    copy(app_only, empty, tmp_path)

    assert changed(catalog(app_only), catalog(empty)) == {}
    assert empty.execute(violations).fetchall() == app_only.execute(violations).fetchall()
    assert empty.execute(states).fetchall() == app_only.execute(states).fetchall()
    empty.rollback()
    app_only.rollback()
    for case in ONE_OF_EACH:
        if case.constraint == "integrity_approved_application_has_participant":
            assert run(empty, case) is None
    disable_triggers(empty)
    refused = {case.constraint for case in ONE_OF_EACH if run(empty, case) is not None}
    attached = {
        name
        for (name,) in empty.execute(
            "select name from integrity.law_status where state <> 'missing' and chosen is null"
        )
    }
    assert refused == attached


def test_a_constraint_lost_on_the_way_is_missed(migrated: _Connection, empty: _Connection, tmp_path: Path) -> None:
    """A restore that skipped a constraint, as one without --exit-on-error does: the comparison sees it, and so does
    the list of the law, which says how to get it back."""
    drop_constraint(migrated, "integrity_assignee_is_participant")
    before = catalog(migrated)

    by_custom_format(migrated, empty, tmp_path)

    assert changed(before, catalog(empty)) == {}
    found = empty.execute(
        "select name, state from integrity.law_status where state <> 'enforced' and chosen is null"
    ).fetchall()
    assert found == [("integrity_assignee_is_participant", "missing")]
    empty.commit()
    empty.autocommit = True
    assert law.advance(empty, ddl.LockPolicy()) == []
    assert changed(before, catalog(empty)).keys() >= {
        ("constraint", "public.quests_quest.integrity_assignee_is_participant")
    }
