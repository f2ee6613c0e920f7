"""What an app's own migration does to the columns that the layer names is damage: the next approval would fail."""

from typing import Any

import psycopg
import pytest

from checks import ddl, guards
from tests.support import factory
from tests.support.database import another
from tests.support.guards import statuses, statuses_in_psql, wrong

_Connection = psycopg.Connection[Any]

GUILD = "column public.quests_questparticipant.guild"
POLICY = ddl.LockPolicy(timeout=1, retries=3)


def _approve(connection: _Connection) -> None:
    application_id = factory.application(connection, factory.quest(connection), factory.user(connection))
    connection.execute("update applications_application set status = 'approved' where id = %s", [application_id])


def test_a_clean_database_has_no_such_row(guarded: _Connection) -> None:
    assert "unfit" not in {status for (status,) in guarded.execute("select status from integrity.guard_status")}


@pytest.mark.parametrize(
    ("type_", "value"),
    [("text", ""), ("varchar(20)", ""), ("integer", 0), ("bigint", 0), ("boolean", False), ("numeric(9,2)", 0)],
)
def test_a_required_column_is_seen_and_gets_a_default(type_: str, value: object, migrated: _Connection) -> None:
    """Django's AddField with a mere `default=`: the database keeps no default, and every approval fails."""
    migrated.execute(f"alter table quests_questparticipant add column guild {type_} not null".encode())
    with pytest.raises(psycopg.errors.NotNullViolation), migrated.transaction():
        _approve(migrated)
    migrated.commit()

    assert statuses(migrated) == statuses_in_psql(migrated) == {GUILD: "unfit"}
    migrated.commit()
    with another(migrated, autocommit=True) as session:
        assert [guard for guard in guards.mend(session, POLICY) if guard.damage] == []
    _approve(migrated)
    migrated.commit()
    assert migrated.execute("select guild from quests_questparticipant").fetchone() == (value,)


@pytest.mark.parametrize(
    "column",
    [
        "guild bigint not null references quests_questcategory",
        "guild text not null unique",
        "guild integer not null check (guild > 0)",
        "guild uuid not null",
    ],
)
def test_what_default_would_do_is_not_guessed(column: str, guarded: _Connection) -> None:
    guarded.execute(f"alter table quests_questparticipant add column {column}".encode())
    (found,) = wrong(guarded)
    assert (found.status, found.damage, found.mend) == ("unfit", True, None)


@pytest.mark.parametrize(
    "column",
    ["guild text", "guild text not null default ''", "guild bigint not null generated always as identity"],
)
def test_a_column_that_needs_no_value_fits(column: str, guarded: _Connection) -> None:
    guarded.execute(f"alter table quests_questparticipant add column {column}".encode())
    assert wrong(guarded) == []


def test_a_required_assignee_may_be_empty_again(guarded: _Connection) -> None:
    guarded.execute("alter table quests_quest alter column assigned_to_id set not null")
    (found,) = wrong(guarded)
    assert (found.identity, found.status) == ("public.quests_quest.assigned_to_id", "unfit")
    assert found.mend == "alter table public.quests_quest alter column assigned_to_id drop not null"


def test_a_removed_column_is_named(guarded: _Connection) -> None:
    """Django's RemoveField drops with CASCADE: views of ours go along, and the column is the reason."""
    guarded.execute("alter table quests_quest drop column completed_at cascade")
    found = statuses(guarded)
    assert found["column public.quests_quest.completed_at"] == "unfit"
    assert found["view integrity.completed_quest_unfinished"] == "missing"


def test_a_column_of_another_type_is_named(guarded: _Connection) -> None:
    guarded.execute("alter table quests_questparticipant alter column progress_notes type bytea using ''")
    (found,) = wrong(guarded)
    assert (found.identity, found.mend) == ("public.quests_questparticipant.progress_notes", None)
