"""TRUNCATE fires no row trigger, so the law alone answers it: participants do not vanish under their approvals."""

from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.law.cases import TABLES, admitted, taken_quest
from tests.law.refusal import disable_triggers, rules_broken

_Connection = psycopg.Connection[Any]


def truncate(connection: _Connection, *tables: str, cascade: bool = False) -> None:
    names = sql.SQL(", ").join(map(sql.Identifier, tables))
    connection.execute(sql.SQL("truncate {} {}").format(names, sql.SQL("cascade" if cascade else "restrict")))


def counts(connection: _Connection, *tables: str) -> dict[str, int]:
    return {
        table: connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(table))).fetchall()[0][0]
        for table in tables
    }


@pytest.fixture(params=["triggers", "no triggers"])
def filled(request: pytest.FixtureRequest, migrated: _Connection) -> _Connection:
    """A database with an approved application, its participant and the quest, with and without triggers."""
    if request.param == "no triggers":
        disable_triggers(migrated)
    quest_id, _, _ = taken_quest(migrated)
    admitted(migrated, quest_id)
    migrated.commit()
    return migrated


@pytest.mark.parametrize(
    "tables",
    [
        ["quests_questparticipant"],
        ["quests_quest"],
        ["applications_application", "quests_questparticipant"],
        ["quests_quest", "quests_questparticipant"],
    ],
    ids=" ".join,
)
def test_truncate_is_refused(tables: list[str], filled: _Connection) -> None:
    before = counts(filled, *TABLES)

    with pytest.raises(psycopg.errors.FeatureNotSupported) as refusal:
        truncate(filled, *tables)

    assert refusal.value.sqlstate == "0A000"
    filled.rollback()
    assert counts(filled, *TABLES) == before


def test_truncate_is_refused_on_empty_tables(migrated: _Connection) -> None:
    """It is about the tables, not about rows that happen to be there."""
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        truncate(migrated, "quests_questparticipant")


def test_applications_alone_may_be_truncated(filled: _Connection) -> None:
    """Nothing refers to them; who took part goes on taking part, which is no error."""
    truncate(filled, "applications_application")
    filled.commit()

    assert counts(filled, *TABLES) == {
        "applications_application": 0,
        "quests_questparticipant": 2,
        "quests_quest": 1,
    }
    assert rules_broken(filled) == set()
    assert rules_broken(filled, "warning") == {"participant_without_approval"}


@pytest.mark.parametrize("table", ["quests_questparticipant", "quests_quest"])
def test_without_triggers_truncate_cascade_takes_all_three_tables(table: str, filled: _Connection) -> None:
    """The foreign keys tie the tables together: the state after it is empty, not broken."""
    disable_triggers(filled)
    before = counts(filled, "users_user", "quests_questcategory")

    truncate(filled, table, cascade=True)
    filled.commit()

    assert set(counts(filled, *TABLES).values()) == {0}
    assert counts(filled, "users_user", "quests_questcategory") == before
    assert rules_broken(filled) == rules_broken(filled, "warning") == set()


def test_all_three_tables_together_may_be_truncated(filled: _Connection) -> None:
    truncate(filled, *TABLES)
    filled.commit()

    assert set(counts(filled, *TABLES).values()) == {0}
    assert rules_broken(filled) == set()


def test_truncate_cascade_takes_the_apps_tables_that_refer_to_them(adopted: _Connection) -> None:
    """As it would without the layer: the app's own foreign keys lead there from the quests."""
    reached = {
        "applications_applicationattempt",
        "quests_questsubmission",
        "quests_questsubmissionattempt",
    }
    quest_id, user_id, participant_id = taken_quest(adopted)
    _, _, application_id = admitted(adopted, quest_id)
    adopted.execute(
        "insert into applications_applicationattempt"
        " (attempt_number, timestamp, applicant_id, application_id, quest_id) values (1, now(), %s, %s, %s)",
        [user_id, application_id, quest_id],
    )
    adopted.execute(
        "insert into quests_questsubmission (submission_text, status, submitted_at, quest_participant_id)"
        " values ('', 'pending', now(), %s)",
        [participant_id],
    )
    adopted.execute(
        "insert into quests_questsubmissionattempt (attempt_number, timestamp, participant_id, quest_id)"
        " values (1, now(), %s, %s)",
        [participant_id, quest_id],
    )
    adopted.commit()
    assert set(counts(adopted, *reached).values()) == {1}

    truncate(adopted, *TABLES, cascade=True)
    adopted.commit()

    assert set(counts(adopted, *TABLES, *reached).values()) == {0}
    assert rules_broken(adopted) == set()


# By cascade alone: before the layer, participants took their submissions with them and nothing else.

NAMED = {
    "plain": "truncate quests_questparticipant, quests_quest, applications_application cascade",
    "keywords": "TRUNCATE TABLE ONLY quests_questparticipant, ONLY quests_quest, applications_application *"
    " RESTART IDENTITY CASCADE;",
    "quoted": """truncate "quests_questparticipant", "quests_quest","applications_application" cascade""",
    "qualified": "truncate public.quests_questparticipant, public . quests_quest,"
    " public.applications_application cascade",
    "quoted and qualified": """truncate public."quests_quest", "public".applications_application cascade""",
    "upper case": "truncate QUESTS_QUEST, Applications_Application cascade",
    "over lines": "truncate\n  quests_quest\n,applications_application\ncascade -- all; of it",
    "commented": "/* truncate */ truncate /* all: */ quests_quest, -- and\n applications_application /* ; */ cascade",
    "of users": "truncate users_user, quests_quest, applications_application cascade",
    "without cascade": "truncate quests_questparticipant, quests_quest, applications_application",
    "one after the other": "truncate applications_application; truncate quests_quest, applications_application cascade",
    "beside strings": "select 'truncate quests_questparticipant cascade', E'\\'; truncate x cascade';"
    " truncate quests_quest, applications_application cascade",
    "in a block": "do $$ begin truncate quests_quest, applications_application cascade; end $$",
    "in a block, dynamically": "do $$ begin"
    " execute 'truncate quests_quest, applications_application' || ' cascade'; end $$",
    "in nested blocks": """do $$ begin execute 'do $x$ begin execute ''truncate "quests_quest",'
        ' public.applications_application cascade''; end $x$'; end $$""",
    "in a function": "create function pg_temp.f() returns void language plpgsql as"
    " 'begin truncate quests_quest, applications_application cascade; end'; select pg_temp.f()",
}
UNNAMED = {
    "participants": "truncate quests_questparticipant cascade",
    "qualified": "truncate only public.quests_questparticipant restart identity cascade",
    "quests": "truncate quests_quest cascade",
    "users": "truncate users_user cascade",
    "participants and applications": "truncate quests_questparticipant, applications_application cascade",
    "only in a comment": "truncate quests_questparticipant /* quests_quest, applications_application */ cascade",
    "only in a line's comment": "truncate quests_questparticipant cascade -- , quests_quest, applications_application",
    "only in a string": "select 'quests_quest, applications_application'; truncate quests_questparticipant cascade",
    "only in another statement": "truncate quests_questparticipant cascade;"
    " truncate quests_quest, applications_application cascade",
    "only before": "select from quests_quest, applications_application; truncate quests_questparticipant cascade",
    "as another's": "create table pg_temp.quests_quest (); create table pg_temp.applications_application ();"
    " truncate quests_questparticipant, pg_temp.quests_quest, pg_temp.applications_application cascade",
    "as a schema": "create schema quests_quest; create table quests_quest.applications_application ();"
    " truncate quests_questparticipant, quests_quest.applications_application cascade",
    "a longer name": "create table quests_quest2 (); create table applications_application2 ();"
    " truncate quests_questparticipant, quests_quest2, applications_application2 cascade",
    "a quoted name in capitals": """create table "Quests_Quest" ();
        truncate quests_questparticipant, applications_application, "Quests_Quest" cascade""",
    "behind a comment in a comment": "/* /* */ truncate quests_quest, applications_application cascade; */"
    " truncate quests_questparticipant cascade",
    "in a block": "do $$ begin truncate quests_questparticipant cascade; end $$",
    "in a block that names them": "do $$ begin perform from quests_quest, applications_application;"
    " truncate quests_questparticipant cascade; end $$",
    "in a function": "create function pg_temp.f() returns void language plpgsql as"
    " 'begin truncate quests_questparticipant cascade; end'; select pg_temp.f()",
    "in a function, called by one that names them": "create function pg_temp.f() returns void language plpgsql as"
    " 'begin truncate quests_questparticipant cascade; end';"
    " do $$ begin perform pg_temp.f(), 1 as quests_quest, 2 as applications_application; end $$",
    # Which statement of an SQL function runs cannot be seen: it is refused, also where the tables are named.
    "in an SQL function": "create function pg_temp.f() returns void language sql as"
    " 'truncate quests_quest, applications_application cascade'; select pg_temp.f()",
}


@pytest.fixture
def taken(migrated: _Connection) -> _Connection:
    admitted(migrated, taken_quest(migrated)[0])
    migrated.commit()
    return migrated


@pytest.mark.parametrize("how", NAMED)
def test_truncate_of_what_it_names_is_allowed(how: str, taken: _Connection) -> None:
    taken.execute(NAMED[how].encode())
    taken.commit()

    assert counts(taken, "quests_quest", "applications_application") == {
        "quests_quest": 0,
        "applications_application": 0,
    }
    assert rules_broken(taken) == set()


@pytest.mark.parametrize("how", UNNAMED)
def test_truncate_of_what_it_does_not_name_is_refused(how: str, taken: _Connection) -> None:
    before = counts(taken, *TABLES)

    with pytest.raises(psycopg.errors.RestrictViolation) as refusal:
        taken.execute(UNNAMED[how].encode())

    assert refusal.value.diag.constraint_name == "integrity_truncate_by_name"
    assert refusal.value.diag.schema_name == "public"
    assert refusal.value.diag.table_name in ("quests_quest", "applications_application")
    taken.rollback()
    assert counts(taken, *TABLES) == before


@pytest.mark.parametrize("how", UNNAMED)
def test_truncate_may_be_meant(how: str, taken: _Connection) -> None:
    taken.execute("set integrity.mechanism = off")
    taken.execute(UNNAMED[how].encode())
    taken.commit()

    assert set(counts(taken, *TABLES).values()) == {0}
    logged = taken.execute("select count(*) from integrity.event where kind = 'mechanism_off'").fetchone()
    assert logged == (1,)


def test_truncate_sent_as_a_prepared_statement(taken: _Connection) -> None:
    """The extended protocol shows the same text."""
    with pytest.raises(psycopg.errors.RestrictViolation):
        taken.execute("truncate quests_questparticipant cascade", prepare=True)
    taken.rollback()
    taken.execute("truncate quests_quest, applications_application cascade", prepare=True)
    taken.commit()
    assert set(counts(taken, *TABLES).values()) == {0}


def test_truncate_in_a_long_script(taken: _Connection) -> None:
    script = "select 1; /* x */ -- y\n" * 20_000
    taken.execute(f"{script} truncate quests_quest, applications_application cascade".encode())
    taken.commit()
    assert set(counts(taken, *TABLES).values()) == {0}
