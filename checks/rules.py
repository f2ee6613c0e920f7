"""What the rules are, and what there is to know about one violation."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg import errors, sql
from psycopg.rows import dict_row

from checks import query, repair, undecided
from checks.errors import UserError, nearest
from checks.records import columns
from checks.violations import EVERYTHING, Report, Violation

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
  ) as enforced_by,
  (
    select
      case
        when bool_or(law.chosen is null) then 'always'
        when bool_or(law.chosen) then 'on request: yes'
        when count(*) > 0 then 'on request: no'
        else 'never'
      end
    from integrity.law as law
    where rule.rule = any(law.rules)
  ) as enforced
from integrity.rule as rule
left join pg_catalog.pg_proc as repair
  on
    repair.proname = 'repair_' || rule.rule
    and repair.pronamespace = 'integrity'::regnamespace
order by rule.position
"""

# Not every column of the app: those that the layer needs are those that can break a rule.
ROWS = """
select
  quest_row.relation,
  quest_row.row_key,
  (
    select jsonb_object_agg(needed.attribute, quest_row.content -> needed.attribute)
    from integrity.needed_column as needed
    where
      right(quest_row.relation, length(needed.relation) + 1) = '.' || needed.relation
      and needed.attribute not in ('id', 'quest_id')
      and quest_row.content ? needed.attribute
  ) as content
from integrity.quest_rows(array[%(quest)s]::bigint[]) as quest_row
where
  quest_row.relation ~ '\\.(quests_quest|applications_application|quests_questparticipant)$'
order by
  quest_row.relation !~ 'quests_quest$',
  %(user)s in (quest_row.content ->> 'applicant_id', quest_row.content ->> 'user_id') desc nulls last,
  quest_row.relation,
  (quest_row.content ->> 'id')::bigint
"""

UNVOUCHED = "select key from integrity.unvouched_approval where application_id = %s"

HISTORY = """
select *
from integrity.events
where quest_id = %s
order by
  at desc,
  id desc
limit %s
"""

# Of a rule's record.
COUNTED = ("violations", "repairable", "quests", "users")

# Of a quest's events, these many of the newest are part of the story.
MOST_EVENTS = 50


@dataclass(frozen=True)
class Rule:
    """A row of integrity.rule, with its repair function and that function's comment if it has one, and its law.

    `enforced`: always, on request: yes, on request: no, or never.
    """

    rule: str
    severity: str
    category: str
    meaning: str
    broken_by: str
    repair: str | None
    repair_meaning: str | None
    enforced_by: list[str]
    enforced: str


@dataclass(frozen=True)
class Row:
    """A row around a quest: its key, and its values in the columns that the layer needs."""

    relation: str
    row_key: dict[str, Any]
    content: dict[str, Any]


@dataclass(frozen=True)
class Story:
    """All there is to know about a violation.

    `rows` is None for who may not read them; `events` are the newest, oldest first. `statements` repair it in psql:
    none where a person must decide what to write, several of which a person must choose one. `repaired` and `changes`
    are what the first would do, `unknown` why that cannot be said.
    """

    violation: Violation
    rule: Rule
    rows: list[Row] | None
    events: list[dict[str, Any]]
    statements: list[str]
    repaired: repair.Result | None
    changes: list[repair.Change]
    unknown: str | None


COLUMNS = [*columns(Rule), *COUNTED]


def read(connection: psycopg.Connection[Any]) -> list[Rule]:
    """Return the rules in order."""
    return query.rows(connection, Rule, RULES)


def record(story: Story) -> dict[str, Any]:
    """Return a violation's story as one record: the violation's columns, then what there is to know."""
    return asdict(story.violation) | {
        "meaning": story.rule.meaning,
        "rows": None if story.rows is None else [asdict(row) for row in story.rows],
        "events": story.events,
        "statements": story.statements,
        "refused": [asdict(left) for left in story.repaired.left] if story.repaired else [],
        "changes": [asdict(change) for change in story.changes],
        "unknown": story.unknown,
    }


def records(rules: list[Rule], found: Report) -> list[dict[str, Any]]:
    """Return the rules with their counts; a rule that is off has none."""
    counts = {count.rule: asdict(count) for count in found.counts}
    nothing = {"severity": "off"} | dict.fromkeys(COUNTED)
    return [asdict(rule) | counts.get(rule.rule, nothing) for rule in rules]


def find(connection: psycopg.Connection[Any], name: str) -> Rule | None:
    """Return the rule of that name."""
    return next((rule for rule in read(connection) if rule.rule == name), None)


def story(connection: psycopg.Connection[Any], key: str) -> Story:
    """Return all there is to know about a violation.

    Args:
        connection: in autocommit mode; the repair is rehearsed and rolled back.
        key: of the violation.

    Raises:
        UserError: there is none, or the key is of no rule.
    """
    known = read(connection)
    name = key.partition(":")[0]
    rule = next((each for each in known if each.rule == name), None)
    if rule is None:
        near = nearest(name, (each.rule for each in known))
        raise UserError(f"{key!r} is neither a rule nor a key{near}: `quest-integrity rules` lists the rules")
    found = _violation(connection, rule, key)
    with connection.cursor(row_factory=dict_row) as cursor:
        events = cursor.execute(HISTORY, [found.quest_id, MOST_EVENTS]).fetchall()[::-1]
    choices = _choices(connection, found)
    repaired, changes, unknown = _rehearsed(connection, found, choices)
    statements = _statements(connection, found, choices)
    return Story(found, rule, _rows(connection, found), events, statements, repaired, changes, unknown)


def _violation(connection: psycopg.Connection[Any], rule: Rule, key: str) -> Violation:
    view = sql.SQL("select * from integrity.{} where key = %s").format(sql.Identifier(rule.rule))
    found = query.rows(connection, Violation, view, [key])
    if not found:
        raise UserError(f"there is no violation {key!r} (any more): `quest-integrity audit --detailed` lists the keys")
    return found[0]


def _rows(connection: psycopg.Connection[Any], found: Violation) -> list[Row] | None:
    where = {"quest": found.quest_id, "user": found.user_id and str(found.user_id)}
    try:
        return query.rows(connection, Row, ROWS, where)
    except errors.InsufficientPrivilege:
        return None


def _choices(connection: psycopg.Connection[Any], found: Violation) -> list[dict[str, str]]:
    """Return the options of a repair among which a person has to choose, none where there is one repair or none."""
    if found.rule == undecided.UNAPPROVED:
        return [{"unapproved": answer} for answer in undecided.ANSWERS]
    if connection.execute(UNVOUCHED, [found.application_id]).fetchone():
        return [{"missing_participant": choice} for choice in undecided.CHOICES]
    return []


def _rehearsed(
    connection: psycopg.Connection[Any], found: Violation, choices: Sequence[dict[str, str]]
) -> tuple[repair.Result | None, list[repair.Change], str | None]:
    if found.repair is None and not choices:
        return None, [], None
    answers: dict[str, Any] = choices[0] if choices else {}
    try:
        return *repair.rehearse(connection, found.key, repair.Options(EVERYTHING, reason="explain", **answers)), None
    except psycopg.Error as error:
        # Who may not repair, or not now, is told so instead.
        if connection.broken:
            raise
        return None, [], str(error.diag.message_primary or error)


def _statements(connection: psycopg.Connection[Any], found: Violation, choices: Sequence[dict[str, str]]) -> list[str]:
    if found.repair is None and not choices:
        return []
    call = sql.SQL("select integrity.repair_violation({}, 'why'").format(sql.Literal(found.key)).as_string(connection)
    return [f"{call}, '{json.dumps(choice)}');" for choice in choices] or [f"{call});"]
