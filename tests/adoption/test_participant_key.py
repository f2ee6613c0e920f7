"""The app's unique key on participants: missing, made otherwise, or impossible because of duplicates."""

from typing import Any

import psycopg
import pytest
from psycopg import errors

from checks import migrate
from tests.support import factory, plant
from tests.support.catalog import changed, snapshot
from tests.support.database import target_of
from tests.support.proof import enforce, repair, rules_broken

_Connection = psycopg.Connection[Any]

OURS = "integrity_participant_key"
STATE = "select state from integrity.law_status where name = %s"


def _without_key(connection: _Connection, *instead: str) -> None:
    plant.drop_participant_key(connection)
    for statement in instead:
        connection.execute(statement)
    connection.commit()


def _states(connection: _Connection) -> list[Any]:
    return connection.execute(STATE, [OURS]).fetchall()


@pytest.mark.parametrize(
    "instead",
    [
        pytest.param([], id="none"),
        pytest.param(["create index on quests_questparticipant (quest_id, user_id)"], id="not_unique"),
        pytest.param(
            ["create unique index on quests_questparticipant (quest_id, user_id) where status = 'joined'"],
            id="of_some_rows",
        ),
        pytest.param(
            ["create unique index on quests_questparticipant (quest_id, user_id, status)"], id="with_one_more_column"
        ),
        pytest.param(
            ["create unique index on quests_questparticipant (quest_id, md5(user_id::text))"], id="of_an_expression"
        ),
    ],
)
def test_missing_key_is_added(instead: list[str], app_only: _Connection) -> None:
    _without_key(app_only, *instead)
    migrate.upgrade(target_of(app_only))
    assert _states(app_only) == [("enforced",)]
    columns = app_only.execute("select pg_get_constraintdef(oid) from pg_constraint where conname = %s", [OURS])
    assert columns.fetchone() == ("UNIQUE (quest_id, user_id)",)


def test_added_key_refuses_a_second_row(app_only: _Connection) -> None:
    """Also of somebody who was dropped, whom the keys of the law leave alone."""
    _without_key(app_only)
    migrate.upgrade(target_of(app_only))
    quest_id, user_id = factory.quest(app_only), factory.user(app_only)
    factory.participant(app_only, quest_id, user_id, status="dropped")
    with pytest.raises(errors.UniqueViolation) as refusal:
        factory.participant(app_only, quest_id, user_id, status="dropped")
    assert refusal.value.diag.constraint_name == OURS


@pytest.mark.parametrize(
    "instead",
    [
        pytest.param("create unique index app_key on quests_questparticipant (quest_id, user_id)", id="index"),
        pytest.param("create unique index app_key on quests_questparticipant (user_id, quest_id)", id="other_order"),
        pytest.param(
            "create unique index app_key on quests_questparticipant (quest_id, user_id) include (status)",
            id="with_payload",
        ),
        pytest.param(
            "alter table quests_questparticipant add constraint app_key unique (user_id, quest_id) deferrable",
            id="deferrable",
        ),
    ],
)
def test_key_of_the_apps_own_making_is_enough(instead: str, app_only: _Connection) -> None:
    _without_key(app_only, instead)
    migrate.upgrade(target_of(app_only))
    assert _states(app_only) == []
    assert rules_broken(app_only) == {}


def test_key_whose_build_failed_is_no_key(app_only: _Connection) -> None:
    """The app's own CREATE INDEX CONCURRENTLY was interrupted: the index is there and checks no old row."""
    _without_key(app_only)
    plant.duplicate_participant(app_only)
    app_only.commit()
    app_only.autocommit = True
    with pytest.raises(errors.UniqueViolation):
        app_only.execute("create unique index concurrently app_key on quests_questparticipant (quest_id, user_id)")
    migrate.upgrade(target_of(app_only))
    assert _states(app_only) == [("missing",)]
    repair(app_only)
    assert enforce(app_only) == []
    assert _states(app_only) == [("enforced",)]


def test_duplicates_do_not_stop_adoption(app_only: _Connection) -> None:
    """They show as violations; the keys, and what needs them, come after the repair."""
    planted = plant.duplicate_participant(app_only)
    app_only.commit()
    migrate.upgrade(target_of(app_only))

    assert rules_broken(app_only) == {"duplicate_participant": 1}
    waiting = dict(
        app_only.execute(
            "select name, state from integrity.law_status where state <> 'enforced' and chosen is null"
        ).fetchall()
    )
    assert set(waiting) == {
        OURS,
        "integrity_active_participant_key",
        "integrity_approved_application_has_participant",
        "integrity_assignee_is_participant",
    }
    # A build that had to fail would have left an index that refuses the app's writes.
    assert app_only.execute("select from pg_index where not indisvalid").fetchall() == []
    app_only.execute(
        "update quests_questparticipant set status = 'in_progress' where quest_id = %s", [planted.quest_id]
    )
    app_only.commit()

    assert set(repair(app_only).values()) == {"repaired"}
    assert enforce(app_only) == []
    assert rules_broken(app_only) == {}


def test_our_key_goes_with_us(app_only: _Connection) -> None:
    _without_key(app_only)
    before = snapshot(app_only)
    migrate.upgrade(target_of(app_only))
    migrate.downgrade(target_of(app_only), "base", ["drop-records=true"])
    assert changed(before, snapshot(app_only)) == {}
