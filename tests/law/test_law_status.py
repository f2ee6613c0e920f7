"""law_status: how far each constraint of the law is enforced, on the app's own tables."""

from typing import Any

import psycopg
from psycopg import sql

from checks import ddl
from checks.law import advance

_Connection = psycopg.Connection[Any]

STATUS = "select name, relation, state, statement from integrity.law_status order by position, state"
TABLES = ("quests_quest", "quests_questparticipant", "applications_application")


def _constraints(connection: _Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "select class.relname, own.conname, pg_get_constraintdef(own.oid) from pg_constraint as own"
        " inner join pg_class as class on class.oid = own.conrelid inner join integrity.law on law.name = own.conname"
        " where own.connamespace = 'public'::regnamespace order by own.contype = 'f'"
    ).fetchall()


def _namesakes(connection: _Connection) -> None:
    """Give another schema tables, constraints, indexes and triggers of the same names, none of them the law's."""
    connection.execute("create schema branch")
    for table in TABLES:
        name = sql.Identifier(table)
        connection.execute(sql.SQL("create table branch.{0} (like public.{0} including identity)").format(name))
        connection.execute(sql.SQL("alter table branch.{} add unique (id)").format(name))
    for table, name, definition in _constraints(connection):
        connection.execute(
            sql.SQL("alter table branch.{} add constraint {} {}").format(
                sql.Identifier(table),
                sql.Identifier(name),
                sql.SQL(definition.replace("REFERENCES ", "REFERENCES branch.").replace("branch.public.", "branch.")),
            )
        )
    connection.execute("create function branch.nothing() returns trigger language plpgsql as 'begin return new; end'")
    for table, name in connection.execute("select relation, stand_in from integrity.law where stand_in is not null"):
        connection.execute(
            sql.SQL(
                "create trigger {} before update on branch.{} for each row execute function branch.nothing()"
            ).format(sql.Identifier(name), sql.Identifier(table))
        )


def test_everything_is_enforced(migrated: _Connection) -> None:
    found = migrated.execute(STATUS).fetchall()
    assert len(found) == len({name for name, *_ in found}) > 0
    assert {(state, statement) for *_, state, statement in found} == {("enforced", None), ("not requested", None)}


def test_namesakes_in_another_schema_change_nothing(migrated: _Connection) -> None:
    before = migrated.execute(STATUS).fetchall()
    _namesakes(migrated)
    assert migrated.execute(STATUS).fetchall() == before


def test_namesakes_do_not_stand_for_what_is_missing(migrated: _Connection) -> None:
    names = _constraints(migrated)
    _namesakes(migrated)
    for table, name, _ in reversed(names):
        migrated.execute(
            sql.SQL("alter table public.{} drop constraint {}").format(sql.Identifier(table), sql.Identifier(name))
        )
    found = migrated.execute(
        "select state, requires is not null from integrity.law_status where chosen is null"
    ).fetchall()
    assert set(found) == {("missing", False), ("waiting", True)}


def test_what_enforces_it_tells_how_many_steps_are_known(migrated: _Connection) -> None:
    """A constraint that was added has yet to be validated."""
    migrated.autocommit = True
    migrated.execute("alter table quests_quest drop constraint integrity_quest_status_known")
    migrated.execute("alter table applications_application drop constraint integrity_application_status_known")
    told: list[tuple[int, int]] = []
    assert advance(migrated, ddl.LockPolicy(), show=lambda done, planned: told.append((done, planned))) == []
    assert told == [(0, 2), (1, 3), (2, 3), (3, 4)]
