"""An import into tables that were analyzed while empty: no approval in it reads all that were approved before."""

from typing import Any, LiteralString

import psycopg

from tests.support import factory

QUESTS = 1500
SINGLE = 20
APPROVE: LiteralString = "update applications_application set status = 'approved' where id between %s and %s"
COPY_QUESTS: LiteralString = """
insert into quests_quest (
  title, description, difficulty, status, xp_reward, gold_reward, commission_fee, created_at, updated_at, requirements,
  resources, slug, is_deleted, category_id, creator_id
)
select
  title, description, difficulty, status, xp_reward, gold_reward, commission_fee, created_at, updated_at, requirements,
  resources, slug || '-' || number, is_deleted, category_id, creator_id
from quests_quest
cross join generate_series(2, %s) as number
"""
APPLY: LiteralString = """
insert into applications_application (status, applied_at, applicant_id, quest_id)
select 'pending', now(), %s, id from quests_quest order by id
"""
READ: LiteralString = """
select seq_tup_read from pg_stat_xact_user_tables where relid = 'quests_questparticipant'::regclass
"""


def test_foreign_keys_are_checked_by_an_index(migrated: psycopg.Connection[Any]) -> None:
    migrated.autocommit = True
    factory.quest(migrated)
    migrated.execute(COPY_QUESTS, [QUESTS])
    migrated.execute(APPLY, [factory.user(migrated)])
    migrated.execute("vacuum (analyze)")
    (first,) = migrated.execute("select min(id) from applications_application").fetchone() or (0,)
    # PostgreSQL plans a check anew five times, then keeps a plan.
    for application in range(first, first + SINGLE):
        migrated.execute(APPROVE, [application, application])
    with migrated.transaction():
        migrated.execute(APPROVE, [first + SINGLE, first + QUESTS])
        migrated.execute("set constraints all immediate")
        (read,) = migrated.execute(READ).fetchone() or (0,)
    assert read < QUESTS, "two keys are checked for each row"
