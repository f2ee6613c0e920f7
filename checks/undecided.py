"""What a person decides: approvals whose participants were lost or have left, and participants without an approval."""

from dataclasses import dataclass
from typing import Any

import psycopg

from checks import query, repair

RULE = "approved_without_participant"
CHOICES = {"create": "all of them take part again", "revoke": "all of these applications become kicked"}

# Repaired on request only: the app lets people join directly.
UNAPPROVED = "participant_without_approval"
ANSWERS = {"approve": "each gets an approved application", "drop": "each is dropped from the quest"}

# Of the approvals without a participant in scope, those that no event vouches for, and all of them.
UNDECIDED = """
select
  count(unvouched.key) as unvouched,
  count(*) as missing
from integrity.approved_without_participant as violation
left join integrity.unvouched_approval as unvouched
  on
    violation.quest_id = unvouched.quest_id
    and violation.key = unvouched.key
where
  violation.repair = 'create_participant'
  and (%(user)s::uuid is null or violation.user_id = %(user)s)
  and (%(quest)s::bigint is null or violation.quest_id = %(quest)s)
  and (%(run)s::bigint is null or violation.key in (
    select item.key from integrity.repair_item as item where item.run = %(run)s
  ))
"""


@dataclass(frozen=True)
class Undecided:
    """Approvals without a participant row: those that no event vouches for, and all of them."""

    unvouched: int
    missing: int


def what(unvouched: int) -> str:
    """Say what is undecided."""
    subject = "1 approved application has" if unvouched == 1 else f"{unvouched:,} approved applications have"
    return f"{subject} no participant and no event in the log: the participant was lost, or has left"


def count(connection: psycopg.Connection[Any], options: repair.Options) -> Undecided:
    """Count what a repair would leave for a person to decide.

    Args:
        connection: in autocommit mode.
        options: of the repair.
    """
    rules = options.scope.rules
    if options.missing_participant or (rules is not None and RULE not in rules):
        return Undecided(0, 0)
    found = _read(connection, options, None)
    if not found.unvouched or options.limit is None:
        return found
    # Only a plan says which are among the first.
    with connection.transaction(force_rollback=True):
        run = repair.start(connection, options)
        repair.plan(connection, run, options, 0)
        return _read(connection, options, run)


def _read(connection: psycopg.Connection[Any], options: repair.Options, run: int | None) -> Undecided:
    where = {"user": options.scope.user, "quest": options.scope.quest, "run": run}
    (found,) = query.rows(connection, Undecided, UNDECIDED, where)
    return found
