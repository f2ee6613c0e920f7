"""integrity.audit() finds what integrity.violations finds, whatever the rows: its suspects must leave nothing out."""

from typing import Any

import psycopg
import pytest

from benchmarks import data
from checks import migrate
from tests.audit.test_add_rule import ADD, OWN_RULE
from tests.support import plant
from tests.support.database import target_of

_Connection = psycopg.Connection[Any]

# Each of a quest's two users may have any of these applications and participants. "?" is no status of the app's.
APPLICATIONS = "{}|{pending}|{approved}|{rejected}|{kicked}|{?}|{pending,pending}|{approved,approved}|{approved,?}"
PARTICIPANTS = "{}|{joined}|{in_progress}|{completed}|{dropped}|{?}|{joined,joined}|{dropped,joined}|{dropped,dropped}"
FEWER_APPLICATIONS = "{}|{approved}"
FEWER_PARTICIPANTS = "{}|{joined}"

STATES = """
create temp table state as
select
  row_number() over () as quest_id,
  status,
  assignee,
  completed_at,
  applications_1::text[] as applications_1,
  participants_1::text[] as participants_1,
  applications_2::text[] as applications_2,
  participants_2::text[] as participants_2
from unnest(array['open', 'in-progress', 'completed', '?']) as status
cross join unnest(array[null, 1, 2, 3]) as assignee
cross join unnest(array[null, timestamptz '2025-02-01']) as completed_at
cross join string_to_table(%s, '|') as applications_1
cross join string_to_table(%s, '|') as participants_1
cross join string_to_table(%s, '|') as applications_2
cross join string_to_table(%s, '|') as participants_2
-- The time of completion matters to completed quests only.
where status = 'completed' or completed_at is null
"""

FILL = f"""
insert into users_user
  (id, password, is_superuser, username, first_name, last_name, is_staff, is_active, date_joined, email)
select person(number), '!', false, 'user' || number, '', '', false, true, '2025-01-01', number || '@example.test'
from generate_series(0, 3) as number;

{data.CATEGORY};

insert into quests_quest ({data.QUEST_COLUMNS}) overriding system value
select
  quest_id, '', '', 'easy', status, 1, 1, 0, '2025-01-01', '2025-01-01', completed_at, '', '', 'quest-' || quest_id,
  false, case when assignee is not null then person(assignee) end, 1, person(0)
from state;

insert into applications_application (status, applied_at, applicant_id, quest_id)
select application, timestamptz '2025-01-02', person(1), quest_id from state
cross join unnest(applications_1) as application
union all
select application, timestamptz '2025-01-02', person(2), quest_id from state
cross join unnest(applications_2) as application;

insert into quests_questparticipant (status, joined_at, progress_notes, quest_id, user_id)
select participant, timestamptz '2025-01-03', '', quest_id, person(1) from state
cross join unnest(participants_1) as participant
union all
select participant, timestamptz '2025-01-03', '', quest_id, person(2) from state
cross join unnest(participants_2) as participant;
"""

DIFFERENCE = "(table {0} except all table {1}) union all (table {1} except all table {0})"


def assert_the_same(connection: _Connection) -> int:
    """Compare the audit with the union of the rules, row by row; return how many rows there are."""
    connection.execute("create temp table audited as select * from integrity.audit()")
    connection.execute("create temp table found as select * from integrity.violations")
    difference = connection.execute(DIFFERENCE.format("audited", "found").encode()).fetchall()
    assert difference == []
    (number,) = connection.execute("select count(*) from audited").fetchone() or (0,)
    connection.execute("drop table audited, found")
    return int(number)


def broken_rules(connection: _Connection) -> int:
    """Return how many rules the audit finds broken."""
    (number,) = connection.execute("select count(distinct rule) from integrity.audit()").fetchone() or (0,)
    return int(number)


def test_every_state_of_a_quest_with_two_users(rules: _Connection) -> None:
    """All there is to a small quest: some ten thousand of them, most of them broken in several ways."""
    plant.drop_participant_key(rules)
    rules.execute(data.PERSON)
    for several in (
        [APPLICATIONS, PARTICIPANTS, FEWER_APPLICATIONS, FEWER_PARTICIPANTS],
        [FEWER_APPLICATIONS, FEWER_PARTICIPANTS, APPLICATIONS, PARTICIPANTS],
    ):
        with rules.transaction(force_rollback=True):
            # Written into the text, since only the server's own quoting knows the rest.
            rules.execute(STATES.replace("%s", "'{}'").format(*several).encode())
            rules.execute(FILL.encode())
            rules.execute("analyze quests_quest, applications_application, quests_questparticipant")
            # Each alone in its database would be the same: no rule looks beyond a quest.
            assert assert_the_same(rules) > 10_000
            assert broken_rules(rules) == 12
            rules.execute("update integrity.rule set severity = 'warning' where severity = 'off'")
            rules.execute("select integrity.assemble_violations()")
            assert assert_the_same(rules) > 10_000
            assert broken_rules(rules) == 13


@pytest.mark.parametrize("stride", [0, 7, 100_000])
def test_a_database_of_some_size(stride: int, empty: _Connection) -> None:
    target = target_of(empty)
    migrate.upgrade(target, data.APP_ONLY)
    empty.autocommit = True
    data.lived_in(empty, 5000, stride)
    migrate.upgrade(target, data.RULES_ONLY)
    if stride:
        empty.execute("vacuum (analyze)")
    assert (assert_the_same(empty) > 0) == (stride == 7)


def test_own_rules_are_read_in_full(rules: _Connection) -> None:
    rules.execute(OWN_RULE)
    rules.execute(ADD, ["warning"])
    plant.everything(rules)
    rules.execute("update applications_application set reviewed_by_id = applicant_id")
    assert assert_the_same(rules) > 0
    (own,) = rules.execute(
        "select count(*) from integrity.audit() where rule = 'reviewed_by_applicant'"
    ).fetchone() or (0,)
    assert rules.execute("select count(*) from applications_application").fetchone() == (own,)


def test_suspects_know_every_rule_of_the_layer(rules: _Connection) -> None:
    """One that they did not know would be read in full: right, and slow."""
    listed = rules.execute("select rule from integrity.rule where severity <> 'off' order by rule").fetchall()
    assert rules.execute("select rule from integrity.suspects() order by rule").fetchall() == listed


def test_sound_rows_are_no_suspects(rules: _Connection) -> None:
    plant.sound_rows(rules)
    assert rules.execute("select rule, quests from integrity.suspects() where quests is not null").fetchall() == []
