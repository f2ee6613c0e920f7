"""A mechanism that saves a lock, as an optimisation might, to show what the explorer and the foreign keys are for."""

import re
from typing import Any

import psycopg

# Before the weakened functions so much as lock a quest, they ask whether it seems settled.
SETTLED = """
create or replace function integrity.race_settled(of_quest bigint)
returns boolean
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select
    exists (
      select
      from public.quests_quest as quest
      inner join public.quests_questparticipant as participant
        on
          participant.quest_id = quest.id
          and participant.user_id = quest.assigned_to_id
          and participant.status <> 'dropped'
      where quest.id = of_quest
    )
$$
"""
MECHANISM = """
select pg_get_functiondef(procedure.oid)
from pg_catalog.pg_proc as procedure
where
  procedure.pronamespace = 'integrity'::regnamespace
  and procedure.proname = any(%s)
"""
# Everything that locks a quest; derive_quest also writes it.
LOCKING = (
    "lock_quest",
    "on_application_approved",
    "on_application_ended",
    "on_participant_ended",
    "derive_quest",
)
LOCK = re.compile(r"(from public\.quests_quest\s+where\s+id = (\S+))(\s+for no key update)")


def weaken(connection: psycopg.Connection[Any]) -> None:
    """Skip the lock and the write of a quest that has an active assignee, in every function that makes them.

    The functions are the installed ones, edited: whatever else they do, they go on doing.

    Raises:
        AssertionError: One of them locks the quest in a way this does not recognise any more.
    """
    connection.execute(SETTLED)
    definitions = connection.execute(MECHANISM, [list(LOCKING)]).fetchall()
    assert len(definitions) == len(LOCKING), f"expected {LOCKING}, found {len(definitions)} functions"
    for (definition,) in definitions:
        weakened, locks = LOCK.subn(r"\1 and not integrity.race_settled(\2)\3", definition)
        assert locks == 1, f"expected one lock of the quest, found {locks} in:\n{definition}"
        connection.execute(weakened)


def drop_foreign_keys(connection: psycopg.Connection[Any]) -> None:
    """Take the foreign keys of the law away, so that only the mechanism is left.

    Raises:
        AssertionError: There are not three of them.
    """
    keys = connection.execute(
        "select relation, name from integrity.law where kind = 'foreign key' order by position"
    ).fetchall()
    assert len(keys) == 3, keys
    for relation, name in keys:
        connection.execute(f"alter table public.{relation} drop constraint {name}")
