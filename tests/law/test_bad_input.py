"""What no honest client sends: refused with the right SQLSTATE, or handled; never half done."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from tests.mechanism.state import State, assert_sound, state
from tests.support import factory

_Connection = psycopg.Connection[Any]

APPLICATIONS, PARTICIPANTS, QUESTS = "applications_application", "quests_questparticipant", "quests_quest"
NOBODY = "00000000-0000-4000-8000-000000000000"
HUGE = "x" * 1_000_000

# A quest in progress: its participant's application is approved, another applicant's is pending.
WORLD = """
select quest.id as quest, mine.id as approved, pending.id as pending, participant.id as participant,
  participant.user_id as user, pending.applicant_id as applicant
from quests_quest as quest
inner join applications_application as mine on mine.quest_id = quest.id and mine.status = 'approved'
inner join applications_application as pending on pending.quest_id = quest.id and pending.status = 'pending'
inner join quests_questparticipant as participant on participant.quest_id = quest.id
"""

# What is tried, the SQLSTATE it must be refused with, and the column or constraint that is named (None where PostgreSQL
# names neither).
REFUSED: dict[str, tuple[str, str, str | None]] = {
    # NULL where there must be something.
    "application without a status": (
        "update applications_application set status = null where id = %(pending)s",
        "23502",
        "status",
    ),
    "participant without a status": (
        "update quests_questparticipant set status = null where id = %(participant)s",
        "23502",
        "status",
    ),
    "quest without a status": ("update quests_quest set status = null where id = %(quest)s", "23502", "status"),
    "approval without a quest": (
        "update applications_application set status = 'approved', quest_id = null where id = %(pending)s",
        "23502",
        "quest_id",
    ),
    "approval without an applicant": (
        "update applications_application set status = 'approved', applicant_id = null where id = %(pending)s",
        "23502",
        "applicant_id",
    ),
    "approval that was never sent in": (
        "insert into applications_application (status, applied_at, quest_id, applicant_id)"
        " values ('approved', null, %(quest)s, %(applicant)s)",
        "23502",
        "applied_at",
    ),
    "participant without a user": (
        "update quests_questparticipant set user_id = null where id = %(participant)s",
        "23502",
        "user_id",
    ),
    # Statuses that nobody knows.
    "approved in capitals": (
        "update applications_application set status = 'APPROVED' where id = %(pending)s",
        "23514",
        "integrity_application_status_known",
    ),
    "approved with a space": (
        "update applications_application set status = 'approved ' where id = %(pending)s",
        "23514",
        "integrity_application_status_known",
    ),
    "status of another table": (
        "update quests_questparticipant set status = 'approved' where id = %(participant)s",
        "23514",
        "integrity_participant_status_known",
    ),
    "quest in_progress with the wrong dash": (
        "update quests_quest set status = 'in_progress' where id = %(quest)s",
        "23514",
        "integrity_quest_status_known",
    ),
    "empty status": (
        "update applications_application set status = '' where id = %(approved)s",
        "23514",
        "integrity_application_status_known",
    ),
    # Too long, of the wrong type, out of range.
    "huge status": ("update applications_application set status = %(huge)s where id = %(pending)s", "22001", None),
    "huge status of a quest": ("update quests_quest set status = %(huge)s where id = %(quest)s", "22001", None),
    "text for a user": (
        "update applications_application set applicant_id = %(huge)s::text::uuid where id = %(pending)s",
        "22P02",
        None,
    ),
    "number too large for an id": (
        "update applications_application set quest_id = 9223372036854775808 where id = %(pending)s",
        "22003",
        None,
    ),
    "text for a number": (
        "update applications_application set quest_id = 'one'::text where id = %(pending)s",
        "42804",
        None,
    ),
    "NUL byte": (
        "update quests_questparticipant set progress_notes = chr(0) where id = %(participant)s",
        "54000",
        None,
    ),
    # Nobody and nothing there.
    "approval for a quest that is not there": (
        "insert into applications_application (status, applied_at, quest_id, applicant_id)"
        " values ('approved', now(), 9223372036854775807, %(applicant)s)",
        "23503",
        "quest_id",
    ),
    "approval of a user who is not there": (
        "insert into applications_application (status, applied_at, quest_id, applicant_id)"
        " values ('approved', now(), %(quest)s, %(nobody)s)",
        "23503",
        "applicant_id",
    ),
    "participant of a quest that is not there": (
        "update quests_questparticipant set quest_id = -1 where id = %(participant)s",
        "23503",
        "quest_id",
    ),
    "participant who is not there": (
        "insert into quests_questparticipant (status, joined_at, progress_notes, quest_id, user_id)"
        " values ('joined', now(), '', %(quest)s, %(nobody)s)",
        "23503",
        "user_id",
    ),
    # Keys.
    "second participant": (
        "insert into quests_questparticipant (status, joined_at, progress_notes, quest_id, user_id)"
        " values ('joined', now(), '', %(quest)s, %(user)s)",
        "23505",
        "quests_questparticipant_quest_id_user_id",
    ),
    "second approval": (
        "insert into applications_application (status, applied_at, quest_id, applicant_id)"
        " values ('approved', now(), %(quest)s, %(user)s)",
        "23505",
        "integrity_approved_application_key",
    ),
    "another id for a quest that others refer to": (
        "update quests_quest set id = id + 1000000 where id = %(quest)s",
        "23503",
        "quest_id",
    ),
    # The log, and what goes around rows.
    "event written by hand": (
        "insert into integrity.event (kind, quest_id) values ('nonsense', %(quest)s)",
        "23502",
        None,
    ),
    "event changed": ("update integrity.event set quest_id = 1", "23001", None),
    "participants truncated": ("truncate quests_questparticipant", "0A000", None),
    "self-referencing approval": (
        "update applications_application set status = 'approved',"
        " quest_id = (select quest_id from quests_questparticipant where application_id = applications_application.id)"
        " where id = %(pending)s",
        "23502",
        "quest_id",
    ),
}

# What is tried, and what becomes of it: the quest's status, the two applications and the participants in all.
HANDLED: dict[str, tuple[str, tuple[str, str | None, str | None, int]]] = {
    "marker of an approval taken away by hand": (
        "update applications_application set integrity_approved = null where id = %(approved)s",
        ("in-progress", "approved", "pending", 1),
    ),
    "marker of an approval forged": (
        "update applications_application set integrity_approved = true where id = %(pending)s",
        ("in-progress", "approved", "pending", 1),
    ),
    "marker said to be false": (
        "update quests_questparticipant set integrity_active = false where id = %(participant)s",
        ("in-progress", "approved", "pending", 1),
    ),
    "marker of a quest taken away by hand": (
        "update quests_quest set integrity_assigned = null where id = %(quest)s",
        ("in-progress", "approved", "pending", 1),
    ),
    "assigned to a user who is not there": (
        "update quests_quest set assigned_to_id = %(nobody)s where id = %(quest)s",
        ("in-progress", "approved", "pending", 1),
    ),
    "assigned to an applicant who was not approved": (
        "update quests_quest set assigned_to_id = %(applicant)s where id = %(quest)s",
        ("in-progress", "approved", "pending", 1),
    ),
    "opened with nobody": (
        "update quests_quest set status = 'open', assigned_to_id = null where id = %(quest)s",
        ("in-progress", "approved", "pending", 1),
    ),
    "approved twice in a row": (
        "with first as (update applications_application set status = 'approved' where id = %(pending)s returning id)"
        " update applications_application set status = 'approved' where id = %(approved)s",
        ("in-progress", "approved", "approved", 2),
    ),
    "approved in the far future": (
        "update applications_application set status = 'approved', reviewed_at = 'infinity' where id = %(pending)s",
        ("in-progress", "approved", "approved", 2),
    ),
    "approved by a condition that nothing meets": (
        "update applications_application set status = 'approved' where id = -1",
        ("in-progress", "approved", "pending", 1),
    ),
    "approved with a huge note": (
        "update quests_questparticipant set progress_notes = %(huge)s where id = %(participant)s",
        ("in-progress", "approved", "pending", 1),
    ),
    "quest and all of it deleted": (
        "with gone as (delete from applications_application where quest_id = %(quest)s returning id)"
        " delete from quests_questparticipant where quest_id = %(quest)s",
        ("open", None, None, 0),
    ),
}


@pytest.fixture
def world(migrated: _Connection) -> Iterator[dict[str, Any]]:
    quest_id = factory.quest(migrated)
    factory.application(migrated, quest_id, factory.user(migrated), status="approved")
    factory.application(migrated, quest_id, factory.user(migrated))
    migrated.commit()
    with migrated.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        row = cursor.execute(WORLD).fetchone()
    assert row is not None
    migrated.commit()
    return {**row, "nobody": NOBODY, "huge": HUGE}


def try_to(connection: _Connection, statement: str, values: dict[str, Any]) -> None:
    with connection.transaction():
        connection.execute(statement.encode(), values)


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str, world: dict[str, Any], migrated: _Connection) -> None:
    statement, sqlstate, named = REFUSED[what]
    before = state(migrated, world["quest"])
    migrated.commit()

    with pytest.raises(psycopg.Error) as refusal:
        try_to(migrated, statement, world)

    assert refusal.value.sqlstate == sqlstate
    if named:
        diagnostics = refusal.value.diag
        assert named in f"{diagnostics.column_name} {diagnostics.constraint_name}"
    assert state(migrated, world["quest"]) == before
    assert_sound(migrated)


@pytest.mark.parametrize("what", HANDLED)
def test_handled(what: str, world: dict[str, Any], migrated: _Connection) -> None:
    statement, (status, approved, pending, participants) = HANDLED[what]

    try_to(migrated, statement, world)

    found = state(migrated, world["quest"])
    statuses = found.applications.get(world["approved"]), found.applications.get(world["pending"])
    assert (found.status, *statuses, len(found.participants)) == (status, approved, pending, participants)
    assert_sound(migrated)


@pytest.mark.parametrize("before", ["joined", "in_progress", "completed", "dropped"])
def test_participant_is_there_already(before: str, migrated: _Connection) -> None:
    quest_id, user_id = factory.quest(migrated), factory.user(migrated)
    factory.participant(migrated, quest_id, user_id, status=before)
    application_id = factory.application(migrated, quest_id, user_id, status="approved")
    migrated.commit()

    after = "joined" if before == "dropped" else before
    assert state(migrated, quest_id) == State("in-progress", user_id, {application_id: "approved"}, {user_id: after})
    assert_sound(migrated)


@pytest.mark.parametrize("statement", ["update", "delete"])
@pytest.mark.parametrize("table", [APPLICATIONS, PARTICIPANTS, QUESTS])
def test_empty_tables(table: str, statement: str, migrated: _Connection) -> None:
    command = "update {} set status = 'dropped'" if statement == "update" else "delete from {}"
    migrated.execute(sql.SQL(command).format(sql.Identifier(table)))
    migrated.commit()
    assert_sound(migrated)


def test_names_of_sixty_three_characters(migrated: _Connection) -> None:
    """Of a role and of an application: both go into the log."""
    name = "ü" * 31 + "x"
    quest_id, user_id = factory.quest(migrated), factory.user(migrated)
    migrated.execute(sql.SQL("set local application_name = {}").format(sql.Literal("a" * 63)))
    migrated.execute(sql.SQL("set local integrity.actor = {}").format(sql.Literal(name * 4)))
    factory.application(migrated, quest_id, user_id, status="approved")
    migrated.commit()

    found = migrated.execute("select actor, application_name from integrity.event where quest_id = %s", [quest_id])
    assert found.fetchall() == [(name * 4, "a" * 63)]


@pytest.mark.parametrize(
    "setting",
    [
        "timezone = 'Pacific/Kiritimati'",
        "timezone = 'America/St_Johns'",
        "datestyle = 'SQL, DMY'",
        "intervalstyle = 'sql_standard'",
        "lc_messages = 'de_DE.UTF-8'",
        "bytea_output = 'escape'",
        "standard_conforming_strings = off",
        "transform_null_equals = on",
        "search_path = ''",
        "extra_float_digits = -15",
        "row_security = off",
        "default_transaction_isolation = 'serializable'",
        "plan_cache_mode = force_generic_plan",
        "enable_indexscan = off",
        "constraint_exclusion = on",
        "default_tablespace = ''",
        "check_function_bodies = off",
    ],
)
def test_settings_of_a_session(setting: str, world: dict[str, Any], migrated: _Connection) -> None:
    """Approved, kicked and refused as ever, whatever the client has set."""
    try:
        migrated.execute(f"set {setting}".encode())
    except errors.InvalidParameterValue:
        migrated.rollback()
        pytest.skip(f"this server does not know {setting}")
    migrated.commit()
    migrated.execute(b"update public.applications_application set status = 'approved' where id = %(pending)s", world)
    migrated.commit()
    migrated.execute(b"delete from public.quests_questparticipant where id = %(participant)s", world)
    migrated.commit()
    with pytest.raises(errors.CheckViolation), migrated.transaction():
        migrated.execute(b"update public.quests_quest set status = 'archived' where id = %(quest)s", world)
    migrated.execute("reset all")

    assert state(migrated, world["quest"]) == State(
        "in-progress",
        world["applicant"],
        {world["approved"]: "kicked", world["pending"]: "approved"},
        {world["applicant"]: "joined"},
    )
    assert_sound(migrated)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("rows", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_statement_of_many_rows(rows: int, migrated: _Connection) -> None:
    """All of it, or nothing of it."""
    quest_id = factory.quest(migrated)
    migrated.execute(
        "insert into users_user (id, password, is_superuser, username, first_name, last_name, is_staff, is_active,"
        " date_joined, email)"
        " select gen_random_uuid(), '!', false, 'bulk' || number, '', '', false, true, now(), 'bulk' || number"
        " from generate_series(1, %s) as number",
        [rows],
    )
    with migrated.transaction():
        migrated.execute(
            "insert into quests_quest (title, description, difficulty, status, xp_reward, gold_reward, commission_fee,"
            " created_at, updated_at, requirements, resources, slug, is_deleted, category_id, creator_id)"
            " select title, '', 'easy', 'open', 1, 1, 0, now(), now(), '', '', 'bulk' || number, false, category_id,"
            " creator_id from quests_quest cross join generate_series(1, %s) as number where id = %s",
            [rows, quest_id],
        )
        migrated.execute(
            "with person as (select id, row_number() over (order by id) as number from users_user"
            " where username like 'bulk%%'),"
            " quest as (select id, row_number() over (order by id) as number from quests_quest where id > %s)"
            " insert into applications_application (status, applied_at, quest_id, applicant_id)"
            " select 'pending', now(), quest.id, person.id from person inner join quest using (number)",
            [quest_id],
        )
    migrated.commit()
    migrated.execute("analyze")
    migrated.commit()

    # The last row of the statement is refused: nothing of it stays.
    with pytest.raises(errors.CheckViolation), migrated.transaction():
        migrated.execute(
            "update applications_application set status = case when id = (select max(id) from"
            " applications_application) then 'nonsense' else 'approved' end"
        )
    counts = "select count(*) filter (where status = 'approved'), (select count(*) from quests_questparticipant)"
    assert migrated.execute(f"{counts} from applications_application").fetchone() == (0, 0)

    migrated.execute("update applications_application set status = 'approved'")
    migrated.commit()
    assert migrated.execute(f"{counts} from applications_application").fetchone() == (rows, rows)
    assert_sound(migrated)


def test_log_of_strange_values(world: dict[str, Any], migrated: _Connection) -> None:
    """What goes into the log comes out as it was."""
    strange = "'; drop table integrity.event; -- \\ \" 😀 \u202e"
    migrated.execute("select set_config('integrity.actor', %s, true)", [strange])
    migrated.execute(b"update applications_application set status = 'approved' where id = %(pending)s", world)
    migrated.commit()
    found = migrated.execute(b"select actor from integrity.event where application_id = %(pending)s", world)
    assert found.fetchall() == [(strange,)]
