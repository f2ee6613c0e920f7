"""The app's own role: the right to write its rows is all that the mechanism needs, and the layer is closed to it."""

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.mechanism.roles import app_role, login
from tests.mechanism.state import State, admit, assert_sound, events, one, participant, state
from tests.mechanism.statements import (
    DELETES,
    INSERTS,
    UPDATES,
    delete_many,
    update_many,
)
from tests.support import factory

_Connection = psycopg.Connection[Any]

APPLICATIONS, PARTICIPANTS, QUESTS = "applications_application", "quests_questparticipant", "quests_quest"


@pytest.fixture
def role(migrated: _Connection) -> Iterator[str]:
    with app_role(migrated) as name:
        yield name


@pytest.fixture
def app(migrated: _Connection, role: str) -> Iterator[_Connection]:
    """A session of the app's role."""
    with login(migrated, role) as session:
        yield session


def log(owner: _Connection, quest_id: int) -> list[str]:
    owner.rollback()
    return events(owner, quest_id)


def test_everything_the_app_does(app: _Connection, migrated: _Connection) -> None:
    """A quest's life, from the first application to its deletion, by a role that knows nothing of the layer."""
    quest_id = factory.quest(app)
    ann, first, participant_id = admit(app, quest_id)
    bob, second, _ = admit(app, quest_id)
    direct = factory.user(app)
    factory.participant(app, quest_id, direct)
    app.commit()
    assert state(app, quest_id) == State(
        "in-progress",
        ann,
        {first: "approved", second: "approved"},
        {ann: "joined", bob: "joined", direct: "joined"},
    )

    update_many(app, QUESTS, [quest_id], {"status": "open", "assigned_to_id": None})
    update_many(app, APPLICATIONS, [second], {"status": "kicked"})
    delete_many(app, PARTICIPANTS, [participant_id])
    again = factory.application(app, quest_id, bob)
    update_many(app, APPLICATIONS, [again], {"status": "approved"})
    app.commit()
    assert state(app, quest_id) == State(
        "in-progress",
        direct,
        {first: "kicked", second: "kicked", again: "approved"},
        {bob: "joined", direct: "joined"},
    )
    assert_sound(migrated)

    for table in (PARTICIPANTS, APPLICATIONS):
        app.execute(f"delete from {table} where quest_id = %s", [quest_id])
    delete_many(app, QUESTS, [quest_id])
    app.commit()
    assert_sound(migrated)
    assert log(migrated, quest_id).count("application_approved") == 3


@pytest.mark.parametrize("insert", INSERTS, ids=lambda function: function.__name__)
def test_every_kind_of_insert(insert: Any, app: _Connection, migrated: _Connection) -> None:
    quest_id, user_id = factory.quest(app), factory.user(app)

    insert(
        app,
        APPLICATIONS,
        [{"status": "approved", "applied_at": "2025-01-01 00:00+00", "quest_id": quest_id, "applicant_id": user_id}],
    )
    app.commit()

    assert state(app, quest_id).participants == {user_id: "joined"}
    assert_sound(migrated)


@pytest.mark.parametrize("update", UPDATES, ids=lambda function: function.__name__)
def test_every_kind_of_update(update: Any, app: _Connection, migrated: _Connection) -> None:
    quest_id, user_id = factory.quest(app), factory.user(app)
    application_id = factory.application(app, quest_id, user_id)

    update(app, APPLICATIONS, [application_id], {"status": "approved"})
    app.commit()

    assert state(app, quest_id) == State("in-progress", user_id, {application_id: "approved"}, {user_id: "joined"})
    assert_sound(migrated)


@pytest.mark.parametrize("delete", DELETES, ids=lambda function: function.__name__)
def test_every_kind_of_delete(delete: Any, app: _Connection, migrated: _Connection) -> None:
    quest_id = factory.quest(app)
    _, application_id, participant_id = admit(app, quest_id)

    delete(app, PARTICIPANTS, [participant_id])
    app.commit()

    assert state(app, quest_id) == State("open", None, {application_id: "kicked"})
    assert_sound(migrated)


def test_the_role_needs_no_right_on_what_it_does_not_write(role: str, migrated: _Connection) -> None:
    """Somebody who may only review: the participant is created all the same, by the tables' owner."""
    migrated.execute(
        sql.SQL("revoke insert, update, delete on quests_questparticipant, quests_quest from {}").format(
            sql.Identifier(role)
        )
    )
    quest_id, user_id = factory.quest(migrated), factory.user(migrated)
    application_id = factory.application(migrated, quest_id, user_id)
    migrated.commit()

    with login(migrated, role) as reviewer:
        update_many(reviewer, APPLICATIONS, [application_id], {"status": "approved"})
        reviewer.commit()

    assert state(migrated, quest_id) == State("in-progress", user_id, {application_id: "approved"}, {user_id: "joined"})
    assert_sound(migrated)


def test_somebody_who_may_only_add_participants(role: str, migrated: _Connection) -> None:
    """The quest is locked and derived all the same, by the tables' owner."""
    migrated.execute(
        sql.SQL("revoke insert, update, delete on applications_application, quests_quest from {}").format(
            sql.Identifier(role)
        )
    )
    quest_id, user_id = factory.quest(migrated), factory.user(migrated)
    migrated.commit()

    with login(migrated, role) as recruiter:
        factory.participant(recruiter, quest_id, user_id)
        recruiter.commit()

    assert state(migrated, quest_id) == State("in-progress", user_id, {}, {user_id: "joined"})
    assert_sound(migrated)


def test_the_law_binds_the_role(app: _Connection) -> None:
    quest_id = factory.quest(app)
    user_id, _, _ = admit(app, quest_id)
    app.commit()

    with pytest.raises(psycopg.errors.UniqueViolation) as refusal:
        factory.application(app, quest_id, user_id, status="approved")

    assert refusal.value.diag.constraint_name == "integrity_approved_application_key"


def test_the_log_names_the_role_that_logged_in(app: _Connection, migrated: _Connection, role: str) -> None:
    """Not the owner, whose rights the triggers work with."""
    quest_id = factory.quest(app)
    admit(app, quest_id)
    app.commit()

    assert one(migrated, "select distinct actor from integrity.event where quest_id = %s", quest_id)["actor"] == role


def test_the_log_names_who_logged_in_whatever_role_is_set(migrated: _Connection, role: str) -> None:
    quest_id = factory.quest(migrated)
    migrated.commit()
    migrated.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
    update_many(migrated, QUESTS, [quest_id], {"status": "in-progress"})
    migrated.commit()

    logged = one(migrated, "select actor from integrity.event where quest_id = %s", quest_id)
    assert logged["actor"] == migrated.info.user


# What is closed.


def relations(connection: _Connection) -> dict[str, bool]:
    """Read the layer's relations and whether each is a table."""
    found = connection.execute(
        "select relname, relkind <> 'v' from pg_class"
        " where relnamespace = 'integrity'::regnamespace and relkind in ('r', 'p', 'v')"
    ).fetchall()
    connection.rollback()
    return dict(found)


def signatures(connection: _Connection) -> list[tuple[str, str]]:
    """Read the layer's routines as calls with an unknown NULL for every argument."""
    found = connection.execute(
        "select prokind::text, format('integrity.%I(%s)', proname,"
        " (select string_agg('null', ', ') from generate_series(1, pronargs)))"
        " from pg_proc where pronamespace = 'integrity'::regnamespace"
    ).fetchall()
    connection.rollback()
    return found


@pytest.mark.parametrize("usage", [False, True], ids=["", "with usage on the schema"])
def test_the_layers_tables_and_views_are_closed(
    usage: bool, migrated: _Connection, app: _Connection, role: str
) -> None:
    """By themselves, not only because the schema is."""
    if usage:
        migrated.execute(sql.SQL("grant usage on schema integrity to {}").format(sql.Identifier(role)))
        migrated.commit()
    names = relations(migrated)
    assert {"event", "event_default", "law", "installation", "rule", "violations"} <= set(names)

    for name, is_table in names.items():
        relation = sql.Identifier("integrity", name)
        writes = ("insert into {} default values", "delete from {}", "truncate {}") if is_table else ()
        for statement in ("select from {}", *writes):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(sql.SQL(statement).format(relation))
            app.rollback()
        held = one(
            migrated,
            "select has_table_privilege(%s, %s::regclass, 'select, insert, update, delete, truncate, references,"
            " trigger') as held",
            role,
            f"integrity.{name}",
        )
        migrated.rollback()
        assert not held["held"], name


@pytest.mark.parametrize("usage", [False, True], ids=["", "with usage on the schema"])
def test_the_layers_functions_are_closed(usage: bool, migrated: _Connection, app: _Connection, role: str) -> None:
    """Some of them run with the owner's rights: called directly they would be a way around everything."""
    if usage:
        migrated.execute(sql.SQL("grant usage on schema integrity to {}").format(sql.Identifier(role)))
        migrated.commit()
    routines = signatures(migrated)
    assert len(routines) > 20

    answered = set()
    for kind, signature in routines:
        call = f"call {signature}" if kind == "p" else f"select {signature}"
        with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
            app.execute(sql.SQL(call))
            answered.add(signature)
        app.rollback()
    # Without Citus it reads no table.
    assert answered <= {"integrity.is_distributed()"}
    assert bool(answered) == usage


def test_the_role_cannot_hang_a_trigger_function_on_a_table_of_its_own(
    migrated: _Connection, app: _Connection, role: str
) -> None:
    """It would write quests of its choice with the owner's rights."""
    migrated.execute(sql.SQL("grant usage on schema integrity to {}").format(sql.Identifier(role)))
    migrated.execute(
        sql.SQL("grant temporary on database {} to {}").format(
            sql.Identifier(migrated.info.dbname), sql.Identifier(role)
        )
    )
    migrated.commit()
    functions = migrated.execute(
        "select proname from pg_proc where pronamespace = 'integrity'::regnamespace and prorettype = 'trigger'::regtype"
    ).fetchall()
    migrated.rollback()
    assert ("on_application_ended",) in functions
    app.execute("create temporary table decoy (id bigint, quest_id bigint, applicant_id uuid, status text)")
    app.commit()

    for (name,) in functions:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute(
                sql.SQL("create trigger decoy after insert on decoy for each row execute function {}()").format(
                    sql.Identifier("integrity", name)
                )
            )
        app.rollback()


def test_the_role_can_neither_disable_a_trigger_nor_drop_a_constraint(app: _Connection) -> None:
    for change in (
        "disable trigger user",
        "disable trigger all",
        "drop constraint integrity_status_matches_assignment",
        "drop column integrity_assigned",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute(f"alter table quests_quest {change}")
        app.rollback()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute("set session_replication_role = replica")
    app.rollback()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute("truncate quests_questparticipant cascade")


def test_a_search_path_of_the_clients_misleads_nobody(migrated: _Connection, app: _Connection, role: str) -> None:
    """Tables, functions and operators of the client's own, found first by every unqualified name."""
    trap = sql.Identifier(f"trap_{role}")
    migrated.execute(sql.SQL("create schema {} authorization {}").format(trap, sql.Identifier(role)))
    migrated.commit()
    quest_id, user_id = factory.quest(app), factory.user(app)
    application_id = factory.application(app, quest_id, user_id)
    app.commit()
    app.execute(sql.SQL("set search_path = {}, pg_temp, public, pg_catalog").format(trap))
    for table in (QUESTS, APPLICATIONS, PARTICIPANTS):
        app.execute(sql.SQL("create table {}.{} (like public.{})").format(trap, *[sql.Identifier(table)] * 2))
        app.execute(sql.SQL("create temporary table {0} (like public.{0})").format(sql.Identifier(table)))
    app.execute(
        sql.SQL(
            "create function {trap}.never(text, text) returns boolean language sql as 'select false';"
            "create operator {trap}.= (leftarg = text, rightarg = text, function = {trap}.never);"
            "create operator {trap}.<> (leftarg = text, rightarg = text, function = {trap}.never);"
            "create function {trap}.now() returns timestamptz language sql as $$ select '-infinity'::timestamptz $$"
        ).format(trap=trap)
    )

    app.execute("update public.applications_application set status = 'approved' where id = %s", [application_id])
    app.execute("reset search_path")
    app.commit()

    with login(migrated, role) as other:
        assert state(other, quest_id) == State(
            "in-progress", user_id, {application_id: "approved"}, {user_id: "joined"}
        )
        found = participant(other, quest_id, user_id)
    assert found["joined_at"].year > 2000
    assert_sound(migrated)
