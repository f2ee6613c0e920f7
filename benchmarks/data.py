"""Seeded data, made by the server: the same rows at every run, whatever the size."""

from __future__ import annotations

from benchmarks.harness import Bench, Connection

TABLES = ("quests_quest", "applications_application", "quests_questparticipant")
MEMBERS = ("users_user", *TABLES)

# Without the law and the mechanism: the database an app has before it adopts the layer.
APP_ONLY = "0001_app_tables"
RULES_ONLY = "0003_events"

PERSON = """
create function person(number bigint) returns uuid language sql immutable parallel safe
return md5(('user ' || number)::text)::uuid
"""

USERS = """
insert into users_user
  (id, password, is_superuser, username, first_name, last_name, is_staff, is_active, date_joined, email)
select
  person(number), '!', false, 'user' || number, '', '', false, true, '2025-01-01', 'user' || number || '@example.test'
from generate_series(0, %(users)s - 1) as number
"""

CATEGORY = "insert into quests_questcategory (id, name, created_at) values (1, 'all', '2025-01-01')"

QUEST_COLUMNS = """
  id, title, description, difficulty, status, xp_reward, gold_reward, commission_fee, created_at, updated_at,
  completed_at, requirements, resources, slug, is_deleted, assigned_to_id, category_id, creator_id
"""

OPEN_QUESTS = f"""
insert into quests_quest ({QUEST_COLUMNS}) overriding system value
select
  number, 'Quest ' || number, 'What there is to do in quest ' || number || '.', 'easy', 'open', 50, 10, 0,
  '2025-01-01', '2025-01-01', null, '', '', 'quest-' || number, false, null, 1, person(0)
from generate_series(1, %(quests)s) as number
"""

PENDING = """
insert into applications_application (id, status, applied_at, applicant_id, quest_id) overriding system value
select
  number, 'pending', '2025-01-02', person(1 + (number * 7919::bigint) %% (%(users)s - 1)),
  1 + (number - 1) %% %(quests)s
from generate_series(1, %(applications)s) as number
"""

# Quests that were taken long ago: an approval into empty tables would be planned for empty tables.
HISTORY = 20_000

PAST_QUESTS = f"""
insert into quests_quest ({QUEST_COLUMNS}) overriding system value
select
  number, 'Quest ' || number, 'What there was to do in quest ' || number || '.', 'easy', 'in-progress', 50, 10, 0,
  '2025-01-01', '2025-01-01', null, '', '', 'quest-' || number, false,
  person(1 + number %% (%(users)s - 1)), 1, person(0)
from generate_series(%(past)s, %(past)s + {HISTORY} - 1) as number
"""

PAST_APPLICATIONS = f"""
insert into applications_application
  (id, status, applied_at, reviewed_at, applicant_id, quest_id) overriding system value
select number, 'approved', '2025-01-02', '2025-01-03', person(1 + number %% (%(users)s - 1)), number
from generate_series(%(past)s, %(past)s + {HISTORY} - 1) as number
"""

PAST_PARTICIPANTS = f"""
insert into quests_questparticipant
  (id, status, joined_at, progress_notes, application_id, quest_id, user_id) overriding system value
select number, 'joined', '2025-01-03', '', number, number, person(1 + number %% (%(users)s - 1))
from generate_series(%(past)s, %(past)s + {HISTORY} - 1) as number
"""

# What a quest looks like: its status, whom of two users it is assigned to, whether it has a completion time; the
# applications and the participants of the two. In the second half each breaks one rule, the last column says which.
SCENARIOS = """
create table scenario as
select *
from (
  values
  (0, 'in-progress', 1, false, 'approved', 'approved', 'joined', 'in_progress', false, null),
  (1, 'in-progress', 1, false, 'approved', 'rejected', 'joined', null, false, null),
  (2, 'in-progress', 1, false, 'approved', 'rejected', 'joined', null, false, null),
  (3, 'in-progress', 1, false, 'approved', 'rejected', 'in_progress', null, false, null),
  (4, 'in-progress', 1, false, 'approved', 'kicked', 'joined', null, false, null),
  (5, 'in-progress', 1, false, 'approved', 'pending', 'joined', null, false, null),
  (6, 'completed', 1, true, 'approved', 'rejected', 'completed', null, false, null),
  (7, 'completed', 1, true, 'approved', 'rejected', 'completed', null, false, null),
  (8, 'open', null, false, 'pending', 'pending', null, null, false, null),
  (9, 'open', null, false, 'kicked', 'pending', 'dropped', null, false, null),
  (10, 'in-progress', 1, false, 'approved', 'approved', 'joined', null, false, 'approved_without_participant'),
  (11, 'in-progress', 1, false, 'approved', 'rejected', 'joined', 'joined', false, 'participant_without_approval'),
  (12, 'open', 1, false, 'approved', 'rejected', 'joined', null, false, 'open_quest_with_participant'),
  (13, 'in-progress', null, false, 'approved', 'rejected', 'joined', null, false, 'unassigned_quest_with_participant'),
  (14, 'in-progress', 1, false, 'approved', null, 'joined', 'joined', true, 'duplicate_participant'),
  (15, 'open', null, false, 'approved', 'rejected', null, null, false, 'open_quest_with_approval'),
  (16, 'in-progress', 2, false, 'approved', 'rejected', 'joined', null, false, 'assignee_not_participant'),
  (17, 'in-progress', null, false, 'pending', 'pending', null, null, false, 'in_progress_without_participant'),
  (18, 'in-progress', 1, false, 'approved', 'approved', 'joined', null, true, 'duplicate_approval'),
  (19, 'open', null, false, 'pending', 'pending', null, null, true, 'duplicate_pending'),
  (20, 'completed', 1, false, 'approved', 'rejected', 'joined', null, false, 'completed_quest_unfinished'),
  (21, 'open', null, false, 'pending', 'withdrawn', null, null, false, 'unknown_status')
) as known (
  number, status, assigned_slot, has_completion, application_1, application_2, participant_1, participant_2,
  same_user, breaks
)
"""

# Every `stride`th quest is broken, each in the next of the twelve ways; stride 0 breaks none.
PLAN = """
create view planned as
select
  number as quest_id,
  case
    when %(stride)s > 0 and number %% greatest(%(stride)s, 1) = 0 then 10 + (number / greatest(%(stride)s, 1)) %% 12
    else number %% 10
  end as scenario,
  1 + (number * 7919::bigint) %% (%(users)s - 2) as user_1,
  2 + (number * 7919::bigint) %% (%(users)s - 2) as user_2
from generate_series(1, %(quests)s) as number
"""

PLANNED_QUESTS = f"""
insert into quests_quest ({QUEST_COLUMNS}) overriding system value
select
  planned.quest_id, 'Quest ' || planned.quest_id, 'What there is to do in quest ' || planned.quest_id || '.', 'easy',
  scenario.status, 50, 10, 0, '2025-01-01', '2025-01-01',
  case when scenario.has_completion then timestamptz '2025-02-01' end, '', '', 'quest-' || planned.quest_id, false,
  case scenario.assigned_slot when 1 then person(planned.user_1) when 2 then person(planned.user_2) end,
  1, person(0)
from planned
inner join scenario on planned.scenario = scenario.number
"""

PLANNED_APPLICATIONS = """
insert into applications_application
  (id, status, applied_at, reviewed_at, applicant_id, quest_id) overriding system value
select
  planned.quest_id * 2 + slot - 1, case slot when 1 then scenario.application_1 else scenario.application_2 end,
  '2025-01-02',
  case
    when case slot when 1 then scenario.application_1 else scenario.application_2 end <> 'pending'
      then timestamptz '2025-01-03'
  end,
  person(case when slot = 1 or scenario.same_user then planned.user_1 else planned.user_2 end),
  planned.quest_id
from planned
inner join scenario on planned.scenario = scenario.number
cross join generate_series(1, 2) as slot
where case slot when 1 then scenario.application_1 else scenario.application_2 end is not null
"""

PLANNED_PARTICIPANTS = """
insert into quests_questparticipant
  (id, status, joined_at, progress_notes, application_id, completed_at, quest_id, user_id) overriding system value
select
  planned.quest_id * 2 + slot - 1, case slot when 1 then scenario.participant_1 else scenario.participant_2 end,
  '2025-01-03', '', planned.quest_id * 2 + slot - 1,
  case when scenario.has_completion then timestamptz '2025-02-01' end,
  planned.quest_id, person(case when slot = 1 or scenario.same_user then planned.user_1 else planned.user_2 end)
from planned
inner join scenario on planned.scenario = scenario.number
cross join generate_series(1, 2) as slot
where case slot when 1 then scenario.participant_1 else scenario.participant_2 end is not null
"""

SECONDARY = """
select
  coalesce(
    'alter table ' || own.conrelid::regclass || ' drop constraint ' || own.conname, 'drop index ' || class.relname
  ),
  coalesce(
    'alter table ' || own.conrelid::regclass || ' add constraint ' || own.conname || ' '
    || pg_get_constraintdef(own.oid),
    pg_get_indexdef(class.oid)
  ),
  coalesce(own.conname = 'quests_questparticipant_quest_id_user_id_key', false)
from pg_index as index
inner join pg_class as class on index.indexrelid = class.oid
left join pg_constraint as own on own.conindid = class.oid and own.contype = 'u'
where index.indrelid = any(%s::regclass[]) and not index.indisprimary
"""

IDENTITIES = ("quests_quest", "applications_application", "quests_questparticipant")


def pending(connection: Connection, quests: int, applications: int | None = None, *, history: bool = True) -> None:
    """Fill an app's empty tables with open quests and pending applications, spread evenly, and some history.

    Applications are numbered from 1, quests too; those of the past follow after both, unless `history` is false.
    """
    number = applications or quests
    values = {
        "users": number // 10 + 20_000,
        "quests": quests,
        "applications": number,
        "past": max(number, quests) + 1,
    }
    past = [PAST_QUESTS, PAST_APPLICATIONS, PAST_PARTICIPANTS] if history else []
    _load(connection, [USERS, CATEGORY, OPEN_QUESTS, PENDING, *past], values)


def lived_in(connection: Connection, applications: int, stride: int = 0) -> None:
    """Fill an app's empty tables with two applications and about one participant per quest.

    Args:
        connection: to a database at `APP_ONLY`.
        applications: how many, quests and participants are half as many.
        stride: every so manieth quest is broken, in twelve ways in turn; 0 for none. The app's unique key on
            participants is left out then, since duplicates are among the ways; an ordinary index takes its place.
    """
    values = {"users": max(applications // 20, 1000), "quests": applications // 2, "stride": stride}
    with connection.transaction():
        connection.execute(SCENARIOS)
        _execute(connection, PLAN, values)
    _load(connection, [USERS, CATEGORY, PLANNED_QUESTS, PLANNED_APPLICATIONS, PLANNED_PARTICIPANTS], values, stride > 0)
    connection.execute("drop view planned")
    connection.execute("drop table scenario")


def _load(connection: Connection, statements: list[str], values: dict[str, int], duplicates: bool = False) -> None:
    """Insert without looking at foreign keys, and build indexes afterwards."""
    connection.execute(PERSON)
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")
        secondary = connection.execute(SECONDARY, [list(MEMBERS)]).fetchall()
        for drop, *_ in secondary:
            connection.execute(drop)
        for statement in statements:
            _execute(connection, statement, values)
        for _, create, is_participant_key in secondary:
            if duplicates and is_participant_key:
                create = "create index participant_pair_idx on quests_questparticipant (quest_id, user_id)"
            connection.execute(create)
        for name in IDENTITIES:
            connection.execute(
                f"select setval(pg_get_serial_sequence('{name}', 'id'), coalesce(max(id), 1)) from {name}"
            )


def _execute(connection: Connection, statement: str, values: dict[str, int]) -> None:
    # Parameters cannot stand in a view's definition; these are our own numbers.
    connection.execute(statement % values)


def app_database(bench: Bench, name: str) -> None:
    """Create a database with the app's empty tables."""
    bench.create(name)
    bench.upgrade(name, APP_ONLY)
