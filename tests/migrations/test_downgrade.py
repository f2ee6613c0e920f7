"""A downgrade to base takes away what is ours, and no row of anybody's that was not given up by name."""

import time
from typing import Any

import psycopg
import pytest

from checks import migrate
from checks.errors import UserError
from checks.migrate import revisions
from tests.support import factory, plant
from tests.support.catalog import changed, objects, snapshot
from tests.support.database import another, target_of
from tests.support.programs import alembic
from tests.support.revisions import APP_TABLES, app_rows
from tests.support.waiting import wait_until_blocked

_Connection = psycopg.Connection[Any]


def _tables(connection: _Connection) -> set[str]:
    found = connection.execute(
        "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
    )
    return {name for (name,) in found}


def _wait_for_backend(connection: _Connection, seconds: float = 60) -> int:
    """Wait until a migration asks for the tables and return its backend's pid."""
    connection.autocommit = True
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        row = connection.execute(
            "select pid from pg_stat_activity where datname = current_database()"
            " and application_name = 'quest-integrity' and query ilike 'lock table%'"
        ).fetchone()
        if row is not None:
            return int(row[0])
        time.sleep(0.005)
    raise AssertionError("no migration asks for the tables")


def test_tables_of_ours_go_when_they_are_empty(migrated: _Connection) -> None:
    migrate.downgrade(target_of(migrated), "base")
    assert _tables(migrated) == set()


@pytest.mark.parametrize("given", [[], ["drop-app-tables=false"]], ids=["no_option", "option_false"])
def test_tables_of_ours_that_hold_rows_are_kept(given: list[str], migrated: _Connection) -> None:
    """One row in one table is enough; and nothing was taken down on the way to finding it."""
    factory.user(migrated)
    migrated.commit()
    before, rows = snapshot(migrated), app_rows(migrated)
    migrated.commit()

    with pytest.raises(UserError):
        migrate.downgrade(target_of(migrated), "base", x=given)

    assert changed(before, snapshot(migrated)) == {}
    assert app_rows(migrated) == rows
    assert migrate.current_revision(migrated) == migrate.head_revision()


def test_tables_of_ours_that_hold_rows_are_kept_step_by_step(migrated: _Connection) -> None:
    """The last step down is refused by itself too, whatever it was called."""
    factory.quest(migrated)
    rows = app_rows(migrated)
    migrated.commit()

    with pytest.raises(UserError):
        migrate.downgrade(target_of(migrated), f"-{len(revisions())}")

    assert app_rows(migrated) == rows
    assert migrate.current_revision(migrated) == revisions()[0]


def test_a_row_that_comes_at_the_last_moment_is_kept(migrated: _Connection) -> None:
    """A writer who is not done when the tables are to be dropped is waited for, then seen."""
    migrate.downgrade(target_of(migrated), "0001_app_tables")
    with another(migrated) as writer:
        factory.quest(writer)
        downgrade = alembic(migrated, "-x", "lock-timeout=100ms", "downgrade", "base")
        waiting = _wait_for_backend(migrated)
        wait_until_blocked(migrated, waiting)
        writer.commit()
    downgrade.communicate(timeout=120)

    assert downgrade.returncode == 2
    migrated.commit()
    assert migrated.execute("select count(*) from quests_quest").fetchone() == (1,)


def test_tables_of_ours_that_hold_rows_go_on_request(migrated: _Connection) -> None:
    factory.application(migrated, factory.quest(migrated), factory.user(migrated), status="approved")
    migrated.commit()
    migrate.downgrade(target_of(migrated), "base", x=["drop-app-tables=true", "drop-records=true"])
    assert objects(snapshot(migrated)) == {("schema", "public")}


def test_tables_of_ours_stay_with_their_rows_below_everything_else(migrated: _Connection) -> None:
    """The way out that the refusal names."""
    factory.application(migrated, factory.quest(migrated), factory.user(migrated), status="approved")
    rows = app_rows(migrated)
    migrated.commit()
    migrate.downgrade(target_of(migrated), "0001_app_tables", x=["drop-records=true"])
    assert app_rows(migrated) == rows


@pytest.mark.parametrize(
    "foreign",
    [
        "create table public.guild (leader_id uuid references users_user (id))",
        "create view public.open_quests as select id from quests_quest",
        "create materialized view public.people as select id from users_user",
    ],
    ids=["foreign_key", "view", "materialized_view"],
)
@pytest.mark.parametrize("given", [[], ["drop-app-tables=true"]], ids=["no_option", "option_true"])
def test_tables_of_ours_that_others_stand_on_are_kept(foreign: str, given: list[str], migrated: _Connection) -> None:
    """Said before anything is taken down, rather than by PostgreSQL at the last table."""
    migrated.execute(foreign)
    migrated.commit()
    before = snapshot(migrated)

    with pytest.raises(UserError):
        migrate.downgrade(target_of(migrated), "base", x=given)

    assert changed(before, snapshot(migrated)) == {}


@pytest.mark.parametrize("given", [[], ["drop-app-tables=true"]], ids=["no_option", "option_true"])
def test_tables_that_were_there_before_us_are_never_dropped(given: list[str], app_only: _Connection) -> None:
    """Not empty ones, and not on request either."""
    before = _tables(app_only)
    app_only.commit()
    migrate.upgrade(target_of(app_only))
    migrate.downgrade(target_of(app_only), "base", x=given)
    assert _tables(app_only) == before
    assert before > set(APP_TABLES)


def test_rows_that_were_there_before_us_stay(app_only: _Connection) -> None:
    plant.everything(app_only)
    rows = app_rows(app_only)
    app_only.commit()
    migrate.upgrade(target_of(app_only))
    migrate.downgrade(target_of(app_only), "base", x=["drop-app-tables=true"])
    assert app_rows(app_only) == rows


# What the layer has recorded, and a destination above which nothing is dropped.
RECORDED = {
    "events": ("select integrity.log_event('mechanism_off', null, null, null, null, null, null)", "0003_events"),
    "repairs and undos": ("select integrity.start_repair('by hand', '{}')", "0010_repair"),
    "recorded audits": ("insert into integrity.audit_run (actor) values ('somebody')", "0013_history"),
}


@pytest.mark.parametrize("what", RECORDED)
def test_what_was_recorded_is_kept_unless_it_is_given_up(
    what: str, migrated: _Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever the downgrade is to end, it is refused before it begins."""
    record, revision = RECORDED[what]
    migrated.execute(record.encode())
    migrated.commit()
    before, above = snapshot(migrated), revisions()[revisions().index(revision) - 1]
    migrated.commit()
    steps = len(revisions()) - revisions().index(revision)

    for destination in ("base", above, above.partition("_")[0], f"-{steps}", "0001_app_tables"):
        with pytest.raises(UserError, match=f"would drop what the layer has recorded: {what} \\(1\\)\\."):
            migrate.downgrade(target_of(migrated), destination, x=["drop-records=false"])
        assert changed(before, snapshot(migrated)) == {}
        migrated.commit()

    migrate.downgrade(target_of(migrated), revision)
    migrate.upgrade(target_of(migrated))
    capsys.readouterr()
    migrate.downgrade(target_of(migrated), "base", x=["drop-records=true"])
    assert f"dropping what the layer has recorded: {what} (1)\n" in capsys.readouterr().err
    assert _tables(migrated) == set()
