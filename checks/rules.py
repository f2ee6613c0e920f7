"""What the rules are, and what there is to know about one violation."""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row, tuple_row

from checks.errors import UserError
from checks.violations import Violation

RULES = """
select
  rule.rule,
  rule.severity,
  rule.category,
  rule.meaning,
  rule.broken_by,
  repair.proname as repair,
  obj_description(repair.oid, 'pg_proc') as repair_meaning,
  coalesce(
    (select array_agg(law.name order by law.position) from integrity.law as law where rule.rule = any(law.rules)),
    array[]::text[]
  ) as enforced_by
from integrity.rule as rule
left join pg_catalog.pg_proc as repair
  on
    repair.proname = 'repair_' || rule.rule
    and repair.pronamespace = 'integrity'::regnamespace
order by rule.position
"""

ROWS = """
select relation, row_key, content
from integrity.quest_rows(array[%s]::bigint[])
order by
  relation,
  content ->> 'id'
"""

HISTORY = """
select at, kind, user_id, before, after, actor, application_name
from integrity.event
where quest_id = %s
order by at
"""


@dataclass(frozen=True)
class Rule:
    """A row of integrity.rule, with its repair function and that function's comment if it has one, and its law."""

    rule: str
    severity: str
    category: str
    meaning: str
    broken_by: str
    repair: str | None
    repair_meaning: str | None
    enforced_by: list[str]


def read(connection: psycopg.Connection[Any]) -> list[Rule]:
    """Return the rules in order."""
    with connection.cursor(row_factory=class_row(Rule)) as cursor:
        return cursor.execute(RULES).fetchall()


def find(connection: psycopg.Connection[Any], name: str) -> Rule | None:
    """Return the rule of that name."""
    return next((rule for rule in read(connection) if rule.rule == name), None)


def violation(connection: psycopg.Connection[Any], key: str) -> Violation:
    """Return the violation with that key.

    Raises:
        UserError: there is none, or the key is of no rule.
    """
    rule = find(connection, key.partition(":")[0])
    if rule is None:
        raise UserError(f"{key!r} is neither a rule nor a key: `quest-integrity rules` lists the rules")
    query = sql.SQL("select * from integrity.{} where key = %s").format(sql.Identifier(rule.rule))
    with connection.cursor(row_factory=class_row(Violation)) as cursor:
        found = cursor.execute(query, [key]).fetchone()
    if found is None:
        raise UserError(f"there is no violation {key!r} (any more): `quest-integrity audit --detailed` lists the keys")
    return found


def rows(connection: psycopg.Connection[Any], quest: int | None) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Return table, key and content of every row around a quest."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(ROWS, [quest]).fetchall()


def history(connection: psycopg.Connection[Any], quest: int | None) -> list[tuple[Any, ...]]:
    """Return the quest's events: at, kind, user, before, after, actor, application_name."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(HISTORY, [quest]).fetchall()


def repair_statements(connection: psycopg.Connection[Any], found: Violation) -> str | None:
    """Return what repairs the violation in psql, as a run that can be undone; None where a person must decide."""
    if found.repair is None:
        return None
    return sql.SQL("select integrity.repair_violation({}, 'why');").format(sql.Literal(found.key)).as_string(connection)
