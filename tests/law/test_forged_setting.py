"""The setting that tells nested triggers "this quest is derived already" is anybody's to set; the law ignores it."""

from typing import Any

import psycopg
import pytest

from tests.support import factory

_Connection = psycopg.Connection[Any]


def forge(connection: _Connection, quest: int) -> None:
    """Say what only the mechanism should say."""
    connection.execute("select set_config('integrity.derived_quest', %s, true)", [str(quest)])


def test_joining_past_the_mechanism_is_refused(migrated: _Connection) -> None:
    quest = factory.quest(migrated)
    forge(migrated, quest)
    factory.participant(migrated, quest, factory.user(migrated))

    with pytest.raises(psycopg.errors.ForeignKeyViolation) as refused:
        migrated.commit()
    assert refused.value.diag.constraint_name == "integrity_participant_has_assigned_quest"


def test_assigning_past_the_mechanism_is_refused(migrated: _Connection) -> None:
    quest = factory.quest(migrated)
    forge(migrated, quest)
    migrated.execute(
        "update quests_quest set status = 'in-progress', assigned_to_id = %s where id = %s",
        [factory.user(migrated), quest],
    )

    with pytest.raises(psycopg.errors.ForeignKeyViolation) as refused:
        migrated.commit()
    assert refused.value.diag.constraint_name == "integrity_assignee_is_participant"


def test_opening_past_the_mechanism_is_refused_at_once(migrated: _Connection) -> None:
    quest = factory.quest(migrated)
    factory.participant(migrated, quest, factory.user(migrated))
    migrated.commit()
    forge(migrated, quest)

    with pytest.raises(psycopg.errors.CheckViolation) as refused:
        migrated.execute("update quests_quest set status = 'open' where id = %s", [quest])
    assert refused.value.diag.constraint_name == "integrity_status_matches_assignment"


def test_an_approval_is_whole_whatever_the_setting_says(migrated: _Connection) -> None:
    quest = factory.quest(migrated)
    forge(migrated, quest)
    factory.application(migrated, quest, factory.user(migrated), status="approved")
    migrated.commit()

    found = migrated.execute("select status, assigned_to_id is not null from quests_quest where id = %s", [quest])
    assert found.fetchone() == ("in-progress", True)
    assert migrated.execute("select current_setting('integrity.derived_quest', true)").fetchone() == ("",)


def test_unassigning_past_the_mechanism_is_refused_by_who_takes_part(migrated: _Connection) -> None:
    """The marker still follows the write, so that it is the law's own key that refuses and not the marker's CHECK."""
    quest, user = factory.quest(migrated), factory.user(migrated)
    factory.participant(migrated, quest, user)
    migrated.execute("update quests_quest set status = 'completed' where id = %s", [quest])
    migrated.commit()
    forge(migrated, quest)
    migrated.execute("update quests_quest set assigned_to_id = null where id = %s", [quest])

    with pytest.raises(psycopg.errors.ForeignKeyViolation) as refused:
        migrated.commit()
    assert refused.value.diag.constraint_name == "integrity_participant_has_assigned_quest"
