"""The law in the catalog: the constraints of the design, under their names, in the form that makes them hold."""

from typing import Any

import psycopg
import pytest

from tests.law.cases import (
    ACTIVE_PARTICIPANT_KEY,
    APPLICATION_MARKER,
    APPLICATION_STATUS_KNOWN,
    APPROVED_APPLICATION_KEY,
    APPROVED_HAS_PARTICIPANT,
    ASSIGNEE_IS_PARTICIPANT,
    PARTICIPANT_HAS_ASSIGNED_QUEST,
    PARTICIPANT_MARKER,
    PARTICIPANT_STATUS_KNOWN,
    QUEST_KEY,
    QUEST_MARKER,
    QUEST_STATUS_KNOWN,
    STATUS_MATCHES_ASSIGNMENT,
)

_Connection = psycopg.Connection[Any]

APPLICATION, PARTICIPANT, QUEST = "applications_application", "quests_questparticipant", "quests_quest"
PARTICIPANT_COLUMNS = ["quest_id", "user_id", "integrity_active"]

CONSTRAINTS = {
    (APPLICATION, APPROVED_HAS_PARTICIPANT, "f"),
    (QUEST, ASSIGNEE_IS_PARTICIPANT, "f"),
    (PARTICIPANT, PARTICIPANT_HAS_ASSIGNED_QUEST, "f"),
    (QUEST, STATUS_MATCHES_ASSIGNMENT, "c"),
    (APPLICATION, APPLICATION_MARKER, "c"),
    (PARTICIPANT, PARTICIPANT_MARKER, "c"),
    (QUEST, QUEST_MARKER, "c"),
    (APPLICATION, APPLICATION_STATUS_KNOWN, "c"),
    (PARTICIPANT, PARTICIPANT_STATUS_KNOWN, "c"),
    (QUEST, QUEST_STATUS_KNOWN, "c"),
    (APPLICATION, APPROVED_APPLICATION_KEY, "u"),
    (PARTICIPANT, ACTIVE_PARTICIPANT_KEY, "u"),
    (QUEST, QUEST_KEY, "u"),
}

# Columns, referenced table, referenced columns.
FOREIGN_KEYS = {
    APPROVED_HAS_PARTICIPANT: (
        ["quest_id", "applicant_id", "integrity_approved"],
        PARTICIPANT,
        PARTICIPANT_COLUMNS,
    ),
    ASSIGNEE_IS_PARTICIPANT: (["id", "assigned_to_id", "integrity_assigned"], PARTICIPANT, PARTICIPANT_COLUMNS),
    PARTICIPANT_HAS_ASSIGNED_QUEST: (["quest_id", "integrity_active"], QUEST, ["id", "integrity_assigned"]),
}


@pytest.fixture(params=["created", "adopted"])
def attached(request: pytest.FixtureRequest) -> _Connection:
    """A database whose app tables the migrations created, or found, empty."""
    connection: _Connection = request.getfixturevalue({"created": "migrated", "adopted": "adopted"}[request.param])
    return connection


def test_the_constraints_are_those_of_the_design(attached: _Connection) -> None:
    found = attached.execute(
        # From version 18 on NOT NULL is a constraint too (contype n), which is not ours.
        "select conrelid::regclass::text, conname, contype::text from pg_constraint"
        " where conname like 'integrity%' and connamespace <> 'integrity'::regnamespace"
    ).fetchall()

    assert sorted(found) == sorted(CONSTRAINTS)


def test_the_list_in_the_database_is_the_same(attached: _Connection) -> None:
    kinds = {"foreign key": "f", "check": "c", "unique": "u"}
    found = attached.execute("select relation, name, kind from integrity.law where chosen is null").fetchall()

    assert {(relation, name, kinds[kind]) for relation, name, kind in found} == CONSTRAINTS


def test_every_constraint_is_validated_on_empty_tables(attached: _Connection) -> None:
    found = attached.execute(
        "select name, state from integrity.law_status where state <> 'enforced' and chosen is null"
        " union all select conname, 'not validated' from pg_constraint where not convalidated"
    ).fetchall()

    assert found == []


@pytest.mark.parametrize("name", FOREIGN_KEYS)
def test_foreign_key(name: str, attached: _Connection) -> None:
    """Deferred, or the app could not approve before the participant is there; and cascading nothing."""
    found = attached.execute(
        """
        select
          (select array_agg(attname::text order by position)
            from unnest(conkey) with ordinality as key (number, position)
            inner join pg_attribute on attrelid = conrelid and attnum = number),
          confrelid::regclass::text,
          (select array_agg(attname::text order by position)
            from unnest(confkey) with ordinality as key (number, position)
            inner join pg_attribute on attrelid = confrelid and attnum = number),
          condeferrable, condeferred, confmatchtype::text, confupdtype::text, confdeltype::text
        from pg_constraint
        where conname = %s
        """,
        [name],
    ).fetchone()

    # MATCH SIMPLE, and NO ACTION on both sides.
    assert found == (*FOREIGN_KEYS[name], True, True, "s", "a", "a")


def test_no_other_foreign_key_is_ours(attached: _Connection) -> None:
    found = {
        name
        for (name,) in attached.execute(
            "select conname from pg_constraint where contype = 'f' and conname like 'integrity%'"
        )
    }

    assert found == set(FOREIGN_KEYS)


def test_every_key_contains_the_quest(attached: _Connection) -> None:
    """A distributed engine can only enforce what one shard can see."""
    found = attached.execute(
        """
        select conrelid::regclass::text, conname, array_agg(attname::text)
        from pg_constraint
        inner join pg_attribute on attrelid = conrelid and attnum = any(conkey)
        where conname like 'integrity%' and contype in ('u', 'f')
          and connamespace <> 'integrity'::regnamespace
        group by conrelid, conname
        """
    ).fetchall()

    assert len(found) == 6
    assert [name for table, name, columns in found if ("id" if table == QUEST else "quest_id") not in columns] == []


def test_markers_are_nullable_and_have_no_default(attached: _Connection) -> None:
    """That is what makes adding one instant on a table of any size."""
    found = attached.execute(
        "select attrelid::regclass::text, attname, atttypid::regtype::text, attnotnull, atthasdef, atthasmissing"
        " from pg_attribute where starts_with(attname, 'integrity') and attrelid = any(%s::regclass[])",
        [[APPLICATION, PARTICIPANT, QUEST]],
    ).fetchall()

    assert sorted(found) == sorted(
        [
            (APPLICATION, "integrity_approved", "boolean", False, False, False),
            (PARTICIPANT, "integrity_active", "boolean", False, False, False),
            (QUEST, "integrity_assigned", "boolean", False, False, False),
        ]
    )


def test_the_law_needs_no_constraint_trigger(attached: _Connection) -> None:
    """Some engines that speak PostgreSQL have none; those of foreign keys are internal."""
    found = attached.execute("select tgname from pg_trigger where tgconstraint <> 0 and not tgisinternal").fetchall()

    assert found == []
