"""The app's tables in another schema than public, while tables of the same names stand in public."""

from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from checks import migrate
from tests.support import factory, plant
from tests.support.catalog import Snapshot, changed, snapshot
from tests.support.database import another, target_of
from tests.support.programs import dump_schema
from tests.support.proof import assert_planted, enforce, places, repair, rules_broken
from tests.support.revisions import app_rows, wrong_markers
from tests.support.templates import APP_TABLES

_Connection = psycopg.Connection[Any]

NAMES = ("Peer Quest-2", "select")


def _go_to(connection: _Connection, schema: str) -> None:
    connection.execute(sql.SQL("set search_path = {}").format(sql.Identifier(schema)))


def _option(schema: str) -> list[str]:
    return [f"app-schema={schema}"]


def _elsewhere(catalog: Snapshot, schema: str) -> Snapshot:
    """Return what is neither ours nor in the app's schema."""
    quoted = sql.Identifier(schema).as_string()
    return {
        (kind, name): definition
        for (kind, name), definition in catalog.items()
        if "integrity" not in name and f"{schema}." not in name and quoted not in name and kind != "rows"
    }


@pytest.fixture(params=NAMES)
def schema(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def elsewhere(app_only: _Connection, schema: str) -> _Connection:
    """Return a connection to the app's tables in `schema`; those in public belong to somebody else."""
    app_only.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
    plant.everything(app_only)
    app_only.commit()
    _go_to(app_only, schema)
    app_only.execute(APP_TABLES.read_text())
    app_only.commit()
    app_only.autocommit = True
    return app_only


def test_adopted_repaired_enforced_and_left(elsewhere: _Connection, schema: str) -> None:
    with elsewhere.transaction():
        plant.sound_rows(elsewhere)
        planted = plant.everything(elsewhere)
    before, rows, dump = snapshot(elsewhere), app_rows(elsewhere), dump_schema(elsewhere, f'"{schema}"')
    with another(elsewhere) as public:
        rows_in_public = app_rows(public)
    target = target_of(elsewhere)

    migrate.upgrade(target, x=_option(schema))

    # What is broken in public is not ours to see.
    assert_planted(elsewhere, *planted)
    assert app_rows(elsewhere) == rows
    assert wrong_markers(elsewhere) == {}
    assert changed(_elsewhere(before, schema), _elsewhere(snapshot(elsewhere), schema)) == {}

    assert set(repair(elsewhere).values()) <= {"repaired", "gone"}
    for table, known in (("applications_application", "pending"), ("quests_questparticipant", "joined")):
        elsewhere.execute(f"update {table} set status = '{known}' where status in ('archived', 'paused')")
    elsewhere.execute("update quests_quest set status = 'open' where status = 'archived'")
    assert enforce(elsewhere) == []
    repaired = app_rows(elsewhere)

    # The schema need not be named again.
    migrate.downgrade(target, "base", ["drop-records=true"])
    assert dump_schema(elsewhere, f'"{schema}"') == dump
    assert changed(before, snapshot(elsewhere)) == {}
    assert app_rows(elsewhere) == repaired
    with another(elsewhere) as public:
        assert app_rows(public) == rows_in_public


def test_mechanism_and_law_work_there(elsewhere: _Connection, schema: str) -> None:
    """Whatever search_path the session has."""
    migrate.upgrade(target_of(elsewhere), x=_option(schema))
    with elsewhere.transaction():
        quest_id, user_id = factory.quest(elsewhere), factory.user(elsewhere)
        application_id = factory.application(elsewhere, quest_id, user_id)
    with another(elsewhere, autocommit=True) as session:
        session.execute(
            sql.SQL("update {}.applications_application set status = 'approved' where id = %s").format(
                sql.Identifier(schema)
            ),
            [application_id],
        )
    found = elsewhere.execute(
        "select quest.status, participant.status from quests_quest as quest"
        " join quests_questparticipant as participant on participant.quest_id = quest.id where quest.id = %s",
        [quest_id],
    )
    assert found.fetchall() == [("in-progress", "joined")]
    assert places(elsewhere) == set()

    elsewhere.execute("alter table quests_questparticipant disable trigger user")
    with pytest.raises(errors.ForeignKeyViolation) as refusal:
        elsewhere.execute("delete from quests_questparticipant where quest_id = %s", [quest_id])
    assert refusal.value.diag.schema_name == schema


def test_empty_schema_gets_the_tables(empty: _Connection) -> None:
    """Tables of the same names in public, even unfit ones, are none of our business."""
    empty.execute('create schema "Peer Quest-2"')
    empty.execute("create table users_user (id integer)")
    empty.commit()
    before = snapshot(empty)
    migrate.upgrade(target_of(empty), x=_option("Peer Quest-2"))
    _go_to(empty, "Peer Quest-2")
    factory.application(empty, factory.quest(empty), factory.user(empty), status="approved")
    assert rules_broken(empty) == {}
    empty.rollback()
    migrate.downgrade(target_of(empty), "base", ["drop-records=true"])
    assert changed(before, snapshot(empty)) == {}


def test_the_schema_need_not_be_named_again(elsewhere: _Connection, schema: str) -> None:
    target = target_of(elsewhere)
    migrate.upgrade(target, "0003_events", x=_option(schema))
    migrate.upgrade(target)
    marked = (
        "select attrelid::regclass::text from pg_attribute inner join pg_class on pg_class.oid = attrelid"
        " where relkind = 'r' and attname = 'integrity_approved'"
    )
    assert elsewhere.execute(marked).fetchall() == [("applications_application",)]
    migrate.downgrade(target, "0003_events", ["drop-records=true"])
    assert elsewhere.execute(marked).fetchall() == []
    assert elsewhere.execute("select app_schema from integrity.installation").fetchone() == (schema,)
