"""The name of a violated constraint, wherever an error has it."""

import psycopg
import pytest


@pytest.mark.parametrize(
    ("named", "message", "expected"),
    [
        ("integrity_participant_key", "", "integrity_participant_key"),
        (
            "",
            'insert or update on table "quests_quest_102008" violates foreign key constraint '
            '"integrity_assignee_is_participant_102008"',
            "integrity_assignee_is_participant",
        ),
        ("", 'violates check constraint "integrity_quest_marker"', "integrity_quest_marker"),
        ("", 'null value in column "status"', ""),
    ],
)
def test_the_name_is_where_the_engine_puts_it(
    migrated: psycopg.Connection[object], named: str, message: str, expected: str
) -> None:
    found = migrated.execute("select integrity.violated_constraint(%s, %s)", [named, message]).fetchone()

    assert found == (expected,)
