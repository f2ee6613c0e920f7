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
DEFINITION = """
select pg_get_functiondef(procedure.oid)
from pg_catalog.pg_proc as procedure
where
  procedure.pronamespace = 'integrity'::regnamespace
  and procedure.proname = %s
"""
# Everything that locks a quest before it looks at its participants, and what then writes it.
LOCKING = (
    "lock_quest",
    "approve_otherwise",
    "on_application_ended",
    "on_participant_ended",
    "derive_quest",
)
WRITING = "derive_locked_quest"
LOCK = re.compile(r"(from public\.quests_quest\s+where\s+id = (\S+))(\s+for no key update)")
BODY = re.compile(r"^begin$", re.MULTILINE)


def weaken(connection: psycopg.Connection[Any]) -> None:
    """Skip the lock and the write of a quest that has an active assignee, in every function that makes them.

    The functions are the installed ones, edited: whatever else they do, they go on doing.

    Raises:
        AssertionError: One of them locks or writes the quest in a way this does not recognise any more.
    """
    connection.execute(SETTLED)
    for name in LOCKING:
        _edit(connection, name, LOCK, r"\1 and not integrity.race_settled(\2)\3")
    _edit(
        connection,
        WRITING,
        BODY,
        "begin\n  if integrity.race_settled(of_quest) then\n    return old_assignee;\n  end if;\n",
    )


def _edit(connection: psycopg.Connection[Any], name: str, what: re.Pattern[str], by: str) -> None:
    row = connection.execute(DEFINITION, [name]).fetchone()
    assert row is not None, f"there is no function integrity.{name}"
    weakened, places = what.subn(by, row[0])
    assert places == 1, f"expected one place to weaken, found {places} in:\n{row[0]}"
    connection.execute(weakened)


def drop_foreign_keys(connection: psycopg.Connection[Any]) -> None:
    """Take the foreign keys of the law away, so that only the mechanism is left.

    Raises:
        AssertionError: There are not three of them.
    """
    keys = connection.execute(
        "select relation, name from integrity.law where kind = 'foreign key' and chosen is null order by position"
    ).fetchall()
    assert len(keys) == 3, keys
    for relation, name in keys:
        connection.execute(f"alter table public.{relation} drop constraint {name}")
