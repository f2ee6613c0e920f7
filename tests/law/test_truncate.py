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
def test_truncate_cascade_takes_all_three_tables(table: str, filled: _Connection) -> None:
    """The foreign keys tie the tables together: the state after it is empty, not broken."""
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

    truncate(adopted, "quests_questparticipant", cascade=True)
    adopted.commit()

    assert set(counts(adopted, *TABLES, *reached).values()) == {0}
    assert rules_broken(adopted) == set()
