"""Repairs do at once what the mechanism would do row by row: the same rows, the same record, the same events."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from pytest_postgresql.executors import NoopExecutor

from tests.support import factory, plant
from tests.support.database import copied
from tests.support.proof import attach

_Connection = psycopg.Connection[Any]

# As on Citus: the triggers do their work.
ROW_BY_ROW = """
create or replace function integrity.pause_mechanism(paused boolean) returns boolean
language sql set search_path = pg_catalog, pg_temp as 'select false'
"""
TABLES = ("quests_quest", "applications_application", "quests_questparticipant")
KINDS = {
    "approved_without_participant": "participant_joined",
    "duplicate_participant": "participant_dropped",
    "duplicate_approval": "application_ended",
}


def _lost(connection: _Connection, quest_id: int, users: int) -> None:
    """Approve users who get no participant."""
    for _ in range(users):
        factory.application(connection, quest_id, factory.user(connection), status="approved")


def _twice(connection: _Connection, quest_id: int, *statuses: str) -> None:
    """Approve a user who has a participant of each status."""
    user_id = factory.user(connection)
    factory.application(connection, quest_id, user_id, status="approved")
    for status in statuses:
        factory.participant(connection, quest_id, user_id, status=status)


@pytest.fixture(scope="module")
def planted(unattached_server: NoopExecutor) -> Iterator[_Connection]:
    """Yield the one connection to a database in which one quest after the other is broken in several ways."""
    with copied(unattached_server, "at_once") as connection:
        plant.everything(connection)
        _lost(connection, factory.quest(connection), 3)
        _lost(connection, plant.quest_in_progress(connection), 2)
        _lost(connection, factory.quest(connection, status="completed"), 1)
        for quest_id in (factory.quest(connection), plant.quest_in_progress(connection)):
            _twice(connection, quest_id, "joined", "in_progress", "dropped")
            _twice(connection, quest_id, "joined", "joined")
            _twice(connection, quest_id, "dropped", "dropped", "dropped")
        _twice(connection, factory.quest(connection, status="in-progress"), "dropped", "dropped")
        for _ in range(2):
            factory.application(
                connection, quest_id, plant.admit(connection, quest_id)[0], status="approved", reviewed_at=plant.DONE
            )
        attach(connection)
        yield connection


def _repair(connection: _Connection, answer: str) -> dict[str, list[Any]]:
    """Repair everything, read what became of it, and take it back."""
    with connection.transaction(force_rollback=True):
        options = Jsonb({"missing_participant": answer})
        (run,) = connection.execute("select integrity.start_repair('test', %s)", [options]).fetchone() or (0,)
        for _ in range(2):
            connection.execute("select integrity.plan_repair(%s, null, null, null, null)", [run])
            while connection.execute("select integrity.repair_batch(%s, 100)", [run]).fetchone() != (0,):
                pass
        # What is new has another id each time.
        new = "not exists (select from integrity.repair_change where run = %s and before is null and row_key ->> 'id' ="
        queries = {
            table: f"select to_jsonb(t) - case when {new} t.id::text) then '' else 'id' end from {table} as t"
            for table in TABLES
        } | {
            "record": "select quest_id, relation, before, after - 'id', %s is null from integrity.repair_change",
            "items": "select rule, key, outcome, detail, %s is null from integrity.repair_item",
            # Of several events of a quest that changed, the first says so; their order is PostgreSQL's.
            "events": "select kind, quest_id, user_id, application_id, actor,"
            " before - '{quest_status,assigned_to_id}'::text[], after - '{run,quest_status,assigned_to_id}'::text[],"
            f" case when {new} participant_id::text) then participant_id end from integrity.event",
            "changes": "select kind, quest_id, before ->> 'quest_status', before ->> 'assigned_to_id',"
            " after ->> 'quest_status', after ->> 'assigned_to_id', %s is null"
            " from integrity.event where after ? 'quest_status'",
        }
        found = {
            name: sorted(connection.execute(query.encode(), [run]).fetchall(), key=repr)
            for name, query in queries.items()
        }
        assert connection.execute("select from integrity.event where kind = 'mechanism_off'").fetchall() == []
    return found


@pytest.mark.parametrize("answer", ["create", "revoke"])
def test_as_the_mechanism_would(answer: str, planted: _Connection) -> None:
    # One transaction, so that now() is the same.
    with planted.transaction(force_rollback=True):
        at_once = _repair(planted, answer)
        planted.execute(ROW_BY_ROW)
        row_by_row = _repair(planted, answer)

    kinds = {kind for kind, *_ in at_once["events"]}
    assert {"application_ended", "participant_dropped"} <= kinds
    assert ("participant_joined" in kinds) == (answer == "create")
    for name, rows in at_once.items():
        assert rows == row_by_row[name]


@pytest.mark.parametrize("rule", KINDS)
def test_no_trigger_does_it(rule: str, planted: _Connection) -> None:
    """Else it would be done twice, and logged twice."""
    with planted.transaction(force_rollback=True):
        planted.execute(
            "create function refuse() returns trigger language plpgsql as"
            " $$ begin if integrity.mechanism_is_off(1) is not true then raise 'the mechanism is on'; end if;"
            " return null; end $$"
        )
        for table in TABLES:
            planted.execute(
                f"create trigger refuse after insert or update or delete on {table}"
                " for each row execute function refuse()".encode()
            )
        found = planted.execute(f"select quest_id, key from integrity.{rule}".encode()).fetchall()
        quests, keys = zip(*found, strict=True)

        planted.execute(
            f"select integrity.repair_{rule}(%s, %s, %s)".encode(),
            [list(quests), list(keys), Jsonb({"missing_participant": "create"})],
        )

        logged = planted.execute("select from integrity.event where kind = %s", [KINDS[rule]]).fetchall()
        assert len(logged) > 1


def test_what_the_session_writes_afterwards_is_derived(planted: _Connection) -> None:
    """In the same transaction; and when it switches the mechanism off itself, the log says so."""
    with planted.transaction(force_rollback=True):
        (key,) = planted.execute("select min(key) from integrity.in_progress_without_participant").fetchone() or ("",)
        assert planted.execute("select integrity.repair_violation(%s, 'why')", [key]).fetchone() == ("repaired",)
        quest_id = factory.quest(planted)
        planted.execute("update quests_quest set status = 'in-progress' where id = %s", [quest_id])
        found = planted.execute("select status from quests_quest where id = %s", [quest_id]).fetchall()
        assert found == [("open",)]

        planted.execute("set local integrity.mechanism = off")
        plant.admit(planted, quest_id)
        assert planted.execute("select from integrity.event where kind = 'mechanism_off'").fetchall() != []
