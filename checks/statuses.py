"""The statuses that rows of the app may have, integrity.status: list them, add one, remove one.

The database decides and changes everything in one transaction; here it is tried again for the lock, then validated.
"""

from typing import Any

import psycopg
from psycopg.rows import dict_row

from checks import ddl, guards, law
from checks.errors import UserError

COLUMNS = ("relation", "status", "built_in", "meaning")
STATUSES = """
select
  relation,
  status,
  built_in,
  case
    when relation = 'applications_application' then case status when 'approved' then '' else 'not ' end || 'approved'
    when relation = 'quests_questparticipant' then case status when 'dropped' then 'not ' else '' end || 'active'
    when status in ('open', 'in-progress') then 'derived from the participants'
    else 'left alone'
  end as meaning
from integrity.status
order by relation, position
"""

CONSTRAINT = r"select name from integrity.law where relation = %s and name like '%%\_status\_known'"


def read(connection: psycopg.Connection[Any]) -> list[dict[str, Any]]:
    """Return every known status with what the layer takes it for, as records with these `COLUMNS`."""
    with connection.cursor(row_factory=dict_row) as rows:
        return rows.execute(STATUSES).fetchall()


def parse(text: str) -> tuple[str, str]:
    """Return table and status of `TABLE:STATUS`.

    Raises:
        UserError: it is something else.
    """
    relation, colon, status = text.partition(":")
    if not (relation and colon and status and text.isprintable()):
        raise UserError(f"{text!r} is not TABLE:STATUS: write for example applications_application:withdrawn")
    return relation, status


def add(connection: psycopg.Connection[Any], text: str, policy: ddl.LockPolicy = ddl.USUAL) -> list[law.Unenforced]:
    """Add a status, given as `TABLE:STATUS`, and enforce its CHECK on old rows.

    Args:
        connection: in autocommit mode, of the tables' owner.
        text: table and status.
        policy: how to wait for locks.

    Returns:
        The CHECK, if old rows keep it from being enforced.

    Raises:
        UserError: there is no such table, it has that status already, or that is no status.
    """
    relation, status = parse(text)
    law.change(connection, policy, f"statuses of {relation}", "add_status", relation, status)
    return _enforce(connection, policy, relation)


def remove(connection: psycopg.Connection[Any], text: str, policy: ddl.LockPolicy = ddl.USUAL) -> list[law.Unenforced]:
    """Remove a status that was added; as `add`.

    Raises:
        UserError: there is no such status, it is built in, or a row has it.
    """
    relation, status = parse(text)
    law.change(connection, policy, f"statuses of {relation}", "remove_status", relation, status)
    return _enforce(connection, policy, relation)


def _enforce(connection: psycopg.Connection[Any], policy: ddl.LockPolicy, relation: str) -> list[law.Unenforced]:
    return guards.enforce(connection, [name for (name,) in connection.execute(CONSTRAINT, [relation])], policy)
