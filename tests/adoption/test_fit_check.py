"""The fit check: tables that the layer cannot work with are refused before anything changes, all reasons at once."""

from typing import Any

import psycopg
import pytest

from checks import migrate
from checks.errors import UserError
from migrations.sql_objects import SQL_ROOT
from tests.support import factory, plant
from tests.support.catalog import snapshot
from tests.support.database import target_of
from tests.support.proof import rules_broken
from tests.support.revisions import APP_TABLES, app_rows

_Connection = psycopg.Connection[Any]

# What somebody did to the app's tables, and what the message has to name.
MISFITS = {
    "table_missing": ("drop table quests_questparticipant cascade", "quests_questparticipant"),
    "view_in_place_of_a_table": (
        "alter table users_user rename to people; create view users_user as select * from people",
        "users_user",
    ),
    "partitioned_table": (
        "drop table applications_application cascade; create table applications_application"
        " (id bigint primary key, quest_id bigint, applicant_id uuid, status varchar(15), applied_at timestamptz,"
        " reviewed_at timestamptz) partition by range (id)",
        "applications_application",
    ),
    "integer_quest_id": (
        "alter table applications_application alter column quest_id type integer",
        "applications_application.quest_id",
    ),
    "integer_user_id": (
        "alter table quests_questparticipant drop column user_id, add column user_id bigint not null",
        "quests_questparticipant.user_id",
    ),
    "timestamp_without_zone": (
        "alter table quests_questparticipant alter column joined_at type timestamp",
        "quests_questparticipant.joined_at",
    ),
    "status_as_number": (
        "alter table quests_quest alter column status type integer using 1",
        "quests_quest.status",
    ),
    "status_as_enum": (
        "create type status as enum ('pending'); alter table applications_application"
        " alter column status type status using 'pending'",
        "applications_application.status",
    ),
    "column_missing": ("alter table quests_quest drop column completed_at", "quests_quest.completed_at"),
    "column_renamed": (
        "alter table quests_questparticipant rename column progress_notes to notes",
        "quests_questparticipant.progress_notes",
    ),
    "assignee_required": (
        "alter table quests_quest alter column assigned_to_id set not null",
        "quests_quest.assigned_to_id",
    ),
    "legacy_column_required": (
        "alter table quests_questparticipant alter column application_id set not null",
        "quests_questparticipant.application_id",
    ),
    "column_we_cannot_fill": (
        "alter table quests_questparticipant add column guild bigint not null",
        "quests_questparticipant.guild",
    ),
    "id_without_identity": (
        "alter table quests_questparticipant alter column id drop identity",
        "quests_questparticipant.id",
    ),
    "no_primary_key": (
        "alter table quests_quest drop constraint quests_quest_pkey cascade",
        "quests_quest",
    ),
    "primary_key_of_two": (
        "alter table applications_application drop constraint applications_application_pkey cascade,"
        " add primary key (id, quest_id)",
        "applications_application",
    ),
    "marker_of_somebody_else": (
        "alter table quests_quest add column integrity_assigned text",
        "quests_quest.integrity_assigned",
    ),
}

# Each of them alone is a variation of a table that another one takes away, so they cannot come together.
ALONE = {"table_missing", "view_in_place_of_a_table", "partitioned_table", "no_primary_key", "status_as_number"}


def _refused(connection: _Connection) -> str:
    """Try to adopt; make sure that nothing at all has changed, and return what was said."""
    connection.commit()
    before, rows = snapshot(connection), app_rows(connection)
    connection.commit()
    with pytest.raises(UserError) as refusal:
        migrate.upgrade(target_of(connection))
    assert snapshot(connection) == before
    assert app_rows(connection) == rows
    return str(refusal.value)


@pytest.mark.parametrize("misfit", MISFITS)
def test_misfit_is_refused_and_nothing_changes(misfit: str, app_only: _Connection) -> None:
    statement, subject = MISFITS[misfit]
    app_only.execute(statement)
    assert subject in _refused(app_only)


def test_every_misfit_in_one_message(app_only: _Connection) -> None:
    together = {name: MISFITS[name] for name in MISFITS if name not in ALONE}
    for statement, _ in together.values():
        app_only.execute(statement)
    said = _refused(app_only).splitlines()
    for name, (_, subject) in together.items():
        assert [line for line in said if subject in line], name
    # A line for the refusal itself, and one for each; a renamed column is one too few and one too many.
    assert len(said) == 1 + len(together) + 1


def test_mended_it_is_adopted(app_only: _Connection) -> None:
    app_only.execute("alter table quests_questparticipant add column guild bigint not null")
    _refused(app_only)
    app_only.execute("alter table quests_questparticipant alter column guild set default 0")
    app_only.commit()
    migrate.upgrade(target_of(app_only))
    assert rules_broken(app_only) == {}


def test_tables_of_somebody_else(app_only: _Connection) -> None:
    """The columns fit, but not one status is the app's: another meaning, not a violation."""
    factory.quest(app_only, status="draft")
    factory.quest(app_only, status="published")
    assert "quests_quest.status" in _refused(app_only)


def test_stray_statuses_are_violations_and_no_misfit(app_only: _Connection) -> None:
    plant.unknown_quest_status(app_only)
    factory.quest(app_only)
    app_only.commit()
    migrate.upgrade(target_of(app_only))
    assert rules_broken(app_only) == {"unknown_status": 1}


@pytest.mark.parametrize(
    "harmless",
    [
        pytest.param("alter table quests_questparticipant add column mood text", id="nullable_column"),
        pytest.param("alter table quests_questparticipant add column mood text not null default ''", id="default"),
        pytest.param(
            "alter table quests_questparticipant add column late boolean not null"
            " generated always as (status = 'dropped') stored",
            id="generated",
        ),
        pytest.param("alter table quests_quest add column mood text not null", id="required_where_we_never_insert"),
        pytest.param("alter table applications_application alter column status type text", id="text_status"),
        pytest.param("alter table quests_quest alter column status type varchar(99)", id="longer_status"),
        pytest.param("alter table quests_quest drop column due_date", id="column_we_do_not_use"),
        pytest.param("drop table quests_questsubmission", id="table_we_do_not_use"),
        pytest.param("alter table users_user drop column email", id="users_otherwise_made"),
        pytest.param(
            "alter table quests_questparticipant alter column id drop identity;"
            " create sequence participants;"
            " alter table quests_questparticipant alter column id set default nextval('participants')",
            id="serial_of_an_older_django",
        ),
        pytest.param("create table quests_guild (id bigint)", id="another_table"),
    ],
)
def test_harmless_difference_is_adopted(harmless: str, app_only: _Connection) -> None:
    """And works: an approval still finds everything it needs."""
    app_only.execute(harmless)
    app_only.commit()
    migrate.upgrade(target_of(app_only))
    if "mood text not null" in harmless and "default" not in harmless:
        app_only.execute("alter table quests_quest alter column mood set default ''")
    if "email" in harmless:
        user_id = app_only.execute(
            "insert into users_user (id, password, is_superuser, username, first_name, last_name, is_staff, is_active,"
            " date_joined) values (gen_random_uuid(), '', false, 'ann', '', '', false, true, now()) returning id"
        ).fetchone()
        assert user_id is not None
        quest_id = factory.quest(app_only, creator_id=user_id[0])
        factory.application(app_only, quest_id, user_id[0], status="approved")
    else:
        quest_id = factory.quest(app_only)
        factory.application(app_only, quest_id, factory.user(app_only), status="approved")
    app_only.commit()
    status = app_only.execute("select status from quests_quest where id = %s", [quest_id]).fetchone()
    assert status == ("in-progress",)
    assert rules_broken(app_only) == {}


def test_some_tables_but_not_all(empty: _Connection) -> None:
    """Half an app is no empty database: nothing is created beside it."""
    empty.execute("create table users_user (id uuid primary key)")
    said = _refused(empty)
    for table in set(APP_TABLES) - {"users_user", "quests_questcategory"}:
        assert table in said


def test_only_the_category_table_missing(app_only: _Connection) -> None:
    """The layer does not need it, so an app that has done without fits."""
    app_only.execute("drop table quests_questcategory cascade")
    app_only.commit()
    migrate.upgrade(target_of(app_only))
    assert migrate.current_revision(app_only) == migrate.head_revision()


def test_tables_of_another_owner(app_only: _Connection) -> None:
    """Who may not alter the tables is told so by the fit check, and not by PostgreSQL half-way."""
    app_only.execute("create role adopter_without_tables login")
    try:
        database = app_only.info.dbname
        app_only.execute(f'grant all on database "{database}" to adopter_without_tables')
        app_only.execute("grant all on all tables in schema public to adopter_without_tables")
        for name in ("needed_column", "column_mismatch", "distribution_mismatches", "schema_mismatches"):
            app_only.execute((SQL_ROOT / "adoption" / f"{name}.v1.sql").read_text().replace("integrity.", "public."))
        app_only.execute("create table public.status as values ('quests_quest', 'open', 1)")
        app_only.execute("alter table public.status rename column1 to relation")
        app_only.execute("alter table public.status rename column2 to status")
        app_only.execute("alter table public.status rename column3 to position")
        app_only.execute("grant select on needed_column, column_mismatch, status to adopter_without_tables")
        for name in ("distribution_mismatches", "schema_mismatches"):
            app_only.execute(f"grant execute on function public.{name} to adopter_without_tables".encode())
        app_only.execute("set role adopter_without_tables")
        found = app_only.execute("select subject from public.schema_mismatches('public')").fetchall()
        app_only.execute("reset role")
        used = set(APP_TABLES) - {"quests_questcategory"}
        assert {subject for (subject,) in found} == {f"table public.{table}" for table in used}
    finally:
        # Roles belong to the whole server.
        app_only.rollback()


def test_the_function_says_what_was_found_and_what_is_needed(migrated: _Connection) -> None:
    assert (
        migrated.execute(
            "select * from integrity.schema_mismatches('public') where expected not like '%%own'"
        ).fetchall()
        == []
    )
    migrated.execute("create schema other")
    found = migrated.execute("select subject, found, expected from integrity.schema_mismatches('other')").fetchall()
    assert {found for _, found, _ in found} == {"missing"}
    assert all(expected for *_, expected in found)
