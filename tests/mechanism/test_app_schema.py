"""The app's tables in another schema than public: `-x app-schema=…`, whatever its name."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pytest_postgresql import factories

from checks import migrate
from checks.target import Target
from tests.law.cases import APPROVED_HAS_PARTICIPANT, CASES
from tests.law.refusal import disable_triggers, expected_refusal, run
from tests.mechanism.roles import app_role, login
from tests.mechanism.state import State, admit, assert_sound, events, state
from tests.mechanism.statements import delete_many, update_many
from tests.support import factory
from tests.support.database import copy_of
from tests.support.templates import APP_TABLES

_Connection = psycopg.Connection[Any]

APPLICATIONS, PARTICIPANTS, QUESTS = "applications_application", "quests_questparticipant", "quests_quest"

# All but the first have to be quoted. (A few characters are refused outright; the tests of the options see to that.)
PLAIN, CAPITALS, RESERVED, ODD = "shop", "Shop", "select", "the-shop; no. 2 (Köln), public.x"


def _create(schema: str, adopted: bool, where: dict[str, Any]) -> None:
    with psycopg.connect(**where) as connection:
        connection.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
        if adopted:
            connection.execute(sql.SQL("set search_path = {}").format(sql.Identifier(schema)))
            connection.execute(APP_TABLES.read_text())
    migrate.upgrade(Target(make_conninfo(**where), "test template"), x=[f"app-schema={schema}"])


def _loader(schema: str, adopted: bool) -> Callable[..., None]:
    def load(*, autocommit: bool, **where: Any) -> None:
        _create(schema, adopted, where)

    return load


plain_server = factories.postgresql_noproc(dbname="schema_plain", load=[_loader(PLAIN, adopted=False)])
capitals_server = factories.postgresql_noproc(dbname="schema_capitals", load=[_loader(CAPITALS, adopted=True)])
reserved_server = factories.postgresql_noproc(dbname="schema_reserved", load=[_loader(RESERVED, adopted=False)])
odd_server = factories.postgresql_noproc(dbname="schema_odd", load=[_loader(ODD, adopted=True)])

plain = copy_of("plain_server")
capitals = copy_of("capitals_server")
reserved = copy_of("reserved_server")
odd = copy_of("odd_server")

SCHEMAS = {"plain": PLAIN, "capitals": CAPITALS, "reserved": RESERVED, "odd": ODD}


@pytest.fixture(params=SCHEMAS)
def shop(request: pytest.FixtureRequest) -> tuple[_Connection, str]:
    """A connection that looks in the app's schema only, as Django's does with a search_path option."""
    connection: _Connection = request.getfixturevalue(request.param)
    schema = SCHEMAS[request.param]
    connection.execute(sql.SQL("set search_path = {}").format(sql.Identifier(schema)))
    connection.commit()
    return connection, schema


def test_the_apps_tables_are_where_they_should_be(shop: tuple[_Connection, str]) -> None:
    connection, schema = shop
    found = connection.execute(
        "select distinct nspname from pg_class inner join pg_namespace on pg_namespace.oid = relnamespace"
        " where relname = any(%s)",
        [[APPLICATIONS, PARTICIPANTS, QUESTS, "users_user", "quests_questcategory"]],
    ).fetchall()
    assert found == [(schema,)]
    assert connection.execute("select app_schema from integrity.installation").fetchall() == [(schema,)]
    assert (
        connection.execute(
            "select name from integrity.law_status where state <> 'enforced' and chosen is null"
        ).fetchall()
        == []
    )


def test_a_quests_life(shop: tuple[_Connection, str]) -> None:
    connection, _ = shop
    quest_id = factory.quest(connection)
    ann, first, leaving = admit(connection, quest_id)
    bob, second, _ = admit(connection, quest_id)
    connection.commit()
    assert state(connection, quest_id).assignee == ann

    update_many(connection, QUESTS, [quest_id], {"status": "open", "assigned_to_id": None})
    assert state(connection, quest_id).status == "in-progress"
    delete_many(connection, PARTICIPANTS, [leaving])
    assert state(connection, quest_id) == State(
        "in-progress", bob, {first: "kicked", second: "approved"}, {bob: "joined"}
    )
    update_many(connection, APPLICATIONS, [second], {"status": "rejected"})
    assert state(connection, quest_id) == State("open", None, {first: "kicked", second: "rejected"}, {bob: "dropped"})
    again = factory.application(connection, quest_id, ann, status="approved")
    assert state(connection, quest_id).participants == {ann: "joined", bob: "dropped"}
    assert again
    assert events(connection, quest_id).count("application_approved") == 3
    assert "quest_write_corrected" in events(connection, quest_id)
    assert_sound(connection)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.constraint == APPROVED_HAS_PARTICIPANT], ids=lambda case: case.name
)
def test_the_law_holds(case: Any, shop: tuple[_Connection, str]) -> None:
    connection, _ = shop
    expected = expected_refusal(connection, case.constraint)
    disable_triggers(connection)

    assert run(connection, case) == expected


def test_the_apps_role_needs_no_other_schema(shop: tuple[_Connection, str]) -> None:
    connection, schema = shop
    with app_role(connection, schema) as role, login(connection, role) as app:
        app.execute(sql.SQL("set search_path = {}").format(sql.Identifier(schema)))
        quest_id = factory.quest(app)
        user_id, application_id, _ = admit(app, quest_id)
        app.commit()
        assert state(app, quest_id) == State("in-progress", user_id, {application_id: "approved"}, {user_id: "joined"})
    assert_sound(connection)


def test_tables_of_the_same_names_in_public_are_left_alone(shop: tuple[_Connection, str]) -> None:
    """A second copy of the app, say, that nobody asked us to guard."""
    connection, schema = shop
    connection.execute("set search_path = public")
    connection.execute(APP_TABLES.read_text())
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    factory.application(connection, quest_id, user_id, status="approved")
    connection.commit()
    assert state(connection, quest_id).participants == {}

    connection.execute(sql.SQL("set search_path = {}").format(sql.Identifier(schema)))
    quest_id = factory.quest(connection)
    user_id, _, _ = admit(connection, quest_id)
    assert state(connection, quest_id).participants == {user_id: "joined"}
    assert_sound(connection)
    assert connection.execute("select count(*) from public.quests_questparticipant").fetchone() == (0,)
