"""participant_reference: what a repair moves when it merges participants, found from the catalog."""

from typing import Any

import psycopg
import pytest

_Connection = psycopg.Connection[Any]

REFERENCES = "select relation, attribute from integrity.participant_reference order by relation, attribute"


def test_none_in_the_app_itself(migrated: _Connection) -> None:
    assert migrated.execute(REFERENCES).fetchall() == []


def test_a_foreign_key_to_the_id(migrated: _Connection) -> None:
    migrated.execute(
        "create table proof (participant_id bigint references quests_questparticipant, number int,"
        " primary key (number, participant_id))"
    )
    migrated.execute('create table "No key" ("Of" bigint references quests_questparticipant (id) on delete cascade)')
    assert migrated.execute(
        "select relation, attribute, row_key from integrity.participant_reference order by relation desc"
    ).fetchall() == [
        (
            "public.proof",
            "participant_id",
            "jsonb_build_object('participant_id', referrer.participant_id, 'number', referrer.number)",
        ),
        ('public."No key"', "Of", "to_jsonb(referrer)"),
    ]


def test_a_partitioned_table_is_one_reference(migrated: _Connection) -> None:
    migrated.execute(
        "create table parts (participant_id bigint references quests_questparticipant)"
        " partition by list (participant_id)"
    )
    migrated.execute("create table parts_rest partition of parts default")
    assert migrated.execute(REFERENCES).fetchall() == [("public.parts", "participant_id")]


@pytest.mark.parametrize(
    "column",
    [
        "bigint references quests_quest",
        "bigint check (other > 0) unique",
        "uuid references public.users_user",
    ],
)
def test_what_points_elsewhere_is_none(column: str, migrated: _Connection) -> None:
    migrated.execute(f"create table elsewhere (other {column})".encode())
    assert migrated.execute(REFERENCES).fetchall() == []


@pytest.mark.parametrize("columns", ["id, quest_id", "quest_id, id"])
def test_a_key_of_several_columns(columns: str, migrated: _Connection) -> None:
    """The participants that a repair merges have all but the id in common."""
    migrated.execute(f"alter table quests_questparticipant add unique ({columns})".encode())
    migrated.execute(
        f"create table several (first bigint, second bigint,"
        f" foreign key (first, second) references quests_questparticipant ({columns}) on delete cascade)".encode()
    )
    of_id = "first" if columns.startswith("id") else "second"
    assert migrated.execute(REFERENCES).fetchall() == [("public.several", of_id)]


def test_another_column_of_the_participant_is_none(migrated: _Connection) -> None:
    migrated.execute("alter table quests_questparticipant add unique (joined_at)")
    migrated.execute("create table dated (at timestamptz references quests_questparticipant (joined_at))")
    assert migrated.execute(REFERENCES).fetchall() == []
