"""Read the violation views: what is wrong, how much of it, whom it concerns."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import JsonbLoader

from checks import query
from checks.errors import UserError, nearest

FETCH_ROWS = 2000

# Severities may be overridden by the project that runs the audit; off leaves a rule out.
CHOSEN = """
with chosen as (
  select
    rule.rule,
    coalesce(%(severities)s::jsonb ->> rule.rule, rule.severity) as severity,
    rule.category,
    rule.position
  from integrity.rule as rule
  where
    coalesce(%(severities)s::jsonb ->> rule.rule, rule.severity) <> 'off'
    and (%(rules)s::text[] is null or rule.rule = any(%(rules)s))
)
"""

OFF = "select rule from integrity.rule where severity = 'off' and rule = any(%s) order by position"

IN_SCOPE = """
  (%(user)s::uuid is null or violation.user_id = %(user)s)
  and (%(quest)s::bigint is null or violation.quest_id = %(quest)s)
"""

COUNTS = f"""
{CHOSEN}
select
  chosen.rule,
  chosen.severity,
  chosen.category,
  count(violation.key) as violations,
  count(violation.repair) as repairable,
  count(distinct violation.quest_id) as quests,
  count(distinct violation.user_id) as users
from chosen
left join {{source}} as violation
  on chosen.rule = violation.rule and {IN_SCOPE}
group by grouping sets ((chosen.rule, chosen.severity, chosen.category, chosen.position), ())
order by chosen.position nulls last
"""

VIOLATIONS = f"""
{CHOSEN}
select
  violation.rule,
  chosen.severity,
  violation.quest_id,
  violation.user_id,
  violation.application_id,
  violation.participant_id,
  violation.message,
  violation.expected,
  violation.found,
  violation.repair,
  violation.key
from {{source}} as violation
inner join chosen on violation.rule = chosen.rule
where {IN_SCOPE}
order by
  {{first}},
  chosen.position, violation.quest_id, violation.key
"""

TOTALS = """
with applications as not materialized (
  select quest_id, applicant_id as user_id
  from {schema}.applications_application
  where (%(user)s::uuid is null or applicant_id = %(user)s) and (%(quest)s::bigint is null or quest_id = %(quest)s)
),

participants as not materialized (
  select quest_id, user_id
  from {schema}.quests_questparticipant
  where (%(user)s::uuid is null or user_id = %(user)s) and (%(quest)s::bigint is null or quest_id = %(quest)s)
),

assignees as not materialized (
  select id as quest_id, assigned_to_id as user_id
  from {schema}.quests_quest
  where (%(user)s::uuid is null or assigned_to_id = %(user)s) and (%(quest)s::bigint is null or id = %(quest)s)
),

involved as not materialized (
  table applications union table participants union table assignees
)

select
  case
    when %(user)s::uuid is not null then 1
    when %(quest)s::bigint is not null then (select count(distinct user_id) from involved)
    else (select count(*) from {schema}.users_user)
  end as users,
  case
    when %(quest)s::bigint is not null then 1
    when %(user)s::uuid is not null then (select count(distinct quest_id) from involved)
    else (select count(*) from {schema}.quests_quest)
  end as quests,
  (select count(*) from applications) as applications,
  (select count(*) from participants) as participants
"""


class Scope(NamedTuple):
    """What to look at; None looks at everything."""

    user: UUID | None = None
    quest: int | None = None
    rules: list[str] | None = None
    severities: Mapping[str, str] = MappingProxyType({})

    def parameters(self) -> dict[str, Any]:
        """Return the scope as query parameters."""
        return self._asdict() | {"severities": json.dumps(dict(self.severities))}

    def query(self, connection: psycopg.Connection[Any], text: str, first: str = "chosen.position") -> sql.Composed:
        """Return a query of ours that reads violations, from where those in scope are found soonest.

        Args:
            connection: to the database that is audited.
            text: the query.
            first: the column to order violations by before anything else.
        """
        everything = self.user is None and self.quest is None
        source: sql.Composable = sql.SQL("integrity.audit()" if everything else "integrity.violations")
        on = [rule for rule, severity in self.severities.items() if severity != "off"]
        if on and (added := connection.execute(OFF, [on]).fetchall()):
            # The database leaves them out.
            parts = (sql.SQL("select * from integrity.{}").format(sql.Identifier(rule)) for (rule,) in added)
            source = sql.SQL("(select * from {} union all {})").format(source, sql.SQL(" union all ").join(parts))
        return sql.SQL(text).format(source=source, first=sql.SQL(first))


EVERYTHING = Scope()


@dataclass(frozen=True)
class RuleCount:
    """One rule and how many violations (with a repair or not), quests and users it has in scope."""

    rule: str
    severity: str
    category: str
    violations: int
    repairable: int
    quests: int
    users: int


@dataclass(frozen=True)
class Violation:
    """One row of integrity.violations."""

    rule: str
    severity: str
    quest_id: int | None
    user_id: UUID | None
    application_id: int | None
    participant_id: int | None
    message: str
    expected: dict[str, Any]
    found: dict[str, Any]
    repair: str | None
    key: str


@dataclass(frozen=True)
class Totals:
    """How many rows were looked at: of a user or quest, those that have to do with it."""

    users: int
    quests: int
    applications: int
    participants: int


@dataclass(frozen=True)
class Report:
    """The outcome of an audit; quests and users are those that a violation of any rule concerns."""

    counts: tuple[RuleCount, ...]
    totals: Totals
    quests: int
    users: int

    def violations(self, severity: str) -> int:
        """Return how many violations of a severity (`error`, `warning`) there are."""
        return sum(count.violations for count in self.counts if count.severity == severity)

    @property
    def repairable(self) -> int:
        """How many violations have a repair."""
        return sum(count.repairable for count in self.counts)

    @property
    def clean(self) -> bool:
        """Whether no rule of severity error is violated."""
        return self.violations("error") == 0

    def passes(self, fail_on: str) -> bool:
        """Whether there is nothing of the severity that makes an audit fail: error, warning (either) or never."""
        return fail_on == "never" or (self.clean and (fail_on == "error" or self.violations("warning") == 0))


@contextmanager
def one_snapshot(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Make all reads inside see the same state, so that counts and details agree; needs no open transaction."""
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read, read only")
        yield


def app_schema(connection: psycopg.Connection[Any]) -> str:
    """Return the schema of the app's tables, as the migrations recorded it."""
    return str(query.value(connection, "select app_schema from integrity.installation"))


def find_user(connection: psycopg.Connection[Any], username: str) -> UUID:
    """Return the id of a user.

    Raises:
        UserError: there is no such user.
    """
    named = sql.SQL("select id from {}.users_user where username = %s").format(sql.Identifier(app_schema(connection)))
    found = query.value(connection, named, [username])
    if found is None:
        raise UserError(f"there is no user {username!r}: give the username as the app shows it")
    return UUID(str(found))


def require_quest(connection: psycopg.Connection[Any], quest: int) -> int:
    """Return the quest's id.

    Raises:
        UserError: there is no such quest.
    """
    known = sql.SQL("select id from {}.quests_quest where id = %s").format(sql.Identifier(app_schema(connection)))
    if query.value(connection, known, [quest]) is None:
        raise UserError(f"there is no quest {quest}: give the id of an existing quest")
    return quest


def require_rules(connection: psycopg.Connection[Any], rules: Sequence[str]) -> list[str] | None:
    """Return the rules, None when there are none to choose.

    Raises:
        UserError: one of them is unknown.
    """
    known = [row[0] for row in connection.execute("select rule from integrity.rule order by position")]
    for rule in rules:
        if rule not in known:
            raise UserError(f"there is no rule {rule!r}{nearest(rule, known)}: the rules are {', '.join(known)}")
    return list(rules) or None


def report(connection: psycopg.Connection[Any], scope: Scope = EVERYTHING) -> Report:
    """Count the violations in scope, by rule, zero counts included."""
    *counts, every_rule = query.rows(connection, RuleCount, scope.query(connection, COUNTS), scope.parameters())
    rows = sql.SQL(TOTALS).format(schema=sql.Identifier(app_schema(connection)))
    (totals,) = query.rows(connection, Totals, rows, scope.parameters())
    return Report(tuple(counts), totals, every_rule.quests, every_rule.users)


def read(
    connection: psycopg.Connection[Any], scope: Scope = EVERYTHING, *, by_quest: bool = False
) -> Iterator[Violation]:
    """Yield the violations in scope, in bounded memory; needs an open transaction, see `one_snapshot`.

    Args:
        connection: with that transaction.
        scope: what to look at.
        by_quest: whether those of a quest are to follow each other; else those of a rule.
    """
    with connection.cursor("violations", row_factory=class_row(Violation)) as cursor:
        cursor.itersize = FETCH_ROWS
        # A connection of Django's leaves jsonb as text.
        cursor.adapters.register_loader("jsonb", JsonbLoader)
        first = "violation.quest_id" if by_quest else "chosen.position"
        yield from cursor.execute(scope.query(connection, VIOLATIONS, first), scope.parameters())
