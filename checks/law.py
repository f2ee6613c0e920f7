"""Take the law's constraints further: build keys, attach, validate. What to do next is said by integrity.law_status."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors, sql
from psycopg.rows import class_row

from checks import ddl, query, render
from checks.errors import UserError, reported

NEXT_STEP = """
select name, state, statement, waits, count(*) over () as planned
from integrity.law_status
where
  statement is not null
  and (%(names)s::text[] is null or name = any(%(names)s))
  and name <> all(%(skip)s::text[])
order by position
limit 1
"""

REMAINING = """
select name, state, rules
from integrity.law_status
where
  state not in ('enforced', 'not requested')
  and (%(names)s::text[] is null or name = any(%(names)s))
order by position
"""

LONGEST_WAIT_SECONDS = 24 * 60 * 60.0

Violation = (errors.UniqueViolation, errors.CheckViolation, errors.ForeignKeyViolation)


# What functions of the layer say to whoever asks for something that cannot be.
Refusal = (
    errors.DependentObjectsStillExist,
    errors.DuplicateObject,
    errors.FeatureNotSupported,
    errors.InvalidParameterValue,
    errors.ObjectNotInPrerequisiteState,
    errors.UndefinedObject,
)


@dataclass(frozen=True)
class Step:
    """The next statement for one constraint, of `planned` ones that have a next statement.

    `waits` says that it must not be built while rows violate it.
    """

    name: str
    state: str
    statement: str
    waits: bool
    planned: int


@dataclass(frozen=True)
class Unenforced:
    """A constraint that is not enforced in full, its state, and the rules whose violations stand in its way."""

    name: str
    state: str
    rules: tuple[str, ...]


def advance(
    connection: psycopg.Connection[Any],
    policy: ddl.LockPolicy = ddl.USUAL,
    names: Sequence[str] | None = None,
    show: Callable[[int, int], None] = lambda _done, _planned: None,
) -> list[Unenforced]:
    """Build, attach and validate what the rows allow; resumable, since every step starts from the catalog.

    Args:
        connection: in autocommit mode; statement_timeout is switched off on it, since builds and validations scan.
        policy: how to wait for locks.
        names: only these constraints; all of them when None.
        show: told how many steps of how many known ones are done.

    Returns:
        What is still not enforced.
    """
    connection.execute("set statement_timeout = 0")
    stuck: list[str] = []
    wanted = list(names) if names is not None else None
    with _pinned_search_path(connection), connection.cursor(row_factory=class_row(Step)) as cursor:
        done = 0
        while step := cursor.execute(NEXT_STEP, {"names": wanted, "skip": stuck}).fetchone():
            show(done, done + step.planned)
            done += 1
            may_wait = step.waits and step.state == "missing"
            if may_wait and query.value(connection, "select integrity.law_obstacles(%s)", [step.name]):
                stuck.append(step.name)
                continue
            try:
                _take(connection, step.statement, policy)
            except Violation:
                stuck.append(step.name)
                _drop_failed_build(connection, policy, step.name)
    remaining = connection.execute(REMAINING, {"names": wanted}).fetchall()
    return [Unenforced(name, state, tuple(rules)) for name, state, rules in remaining]


def of_rule(connection: psycopg.Connection[Any], rule: str) -> list[str]:
    """Return the names of the constraints that enforce a rule."""
    listed = "select name from integrity.law where %s = any(rules) order by position"
    return [name for (name,) in connection.execute(listed, [rule])]


def change(connection: psycopg.Connection[Any], policy: ddl.LockPolicy, what: str, function: str, *given: str) -> None:
    """Call a function of the layer that changes the law, in a transaction of its own; retry when a lock times out.

    Args:
        connection: in autocommit mode, of the tables' owner.
        policy: how to wait for locks.
        what: what is being changed, for the line printed before each pause.
        function: its name in schema integrity.
        given: its arguments.

    Raises:
        UserError: the function refuses.
    """
    call = sql.SQL("select {}({})").format(
        sql.Identifier("integrity", function), sql.SQL(", ").join([sql.Placeholder()] * len(given))
    )

    def attempt() -> None:
        with connection.transaction():
            # A snapshot from before the lock would hide the rows of those that the change has waited for.
            connection.execute("set transaction isolation level read committed")
            connection.execute(f"set local lock_timeout = '{policy.timeout:g}s'".encode())
            connection.execute(call, given)

    try:
        ddl.retrying(policy, what)(attempt)
    except Refusal as error:
        raise UserError(reported(error)) from error


def _take(connection: psycopg.Connection[Any], statement: str, policy: ddl.LockPolicy) -> None:
    if " concurrently " in statement:
        # It holds up no client, but waits for all that were there before it. To give up early would leave an invalid
        # index behind and have the table scanned again, so all the patience goes into one attempt.
        policy = ddl.LockPolicy(timeout=min(policy.timeout * policy.retries, LONGEST_WAIT_SECONDS), retries=1)
        render.say(f"{statement}: waits for transactions that are open now, {policy.timeout:g} s at most")
    ddl.run(connection, statement, policy)


@contextmanager
def _pinned_search_path(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Look for names without a schema in pg_catalog only: a CHECK keeps the operators that it found."""
    before = connection.execute("select current_setting('search_path')").fetchone()
    connection.execute("set search_path = pg_catalog, pg_temp")
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("select set_config('search_path', %s, false)", before)


def _drop_failed_build(connection: psycopg.Connection[Any], policy: ddl.LockPolicy, name: str) -> None:
    """Drop the invalid index that a failed build leaves: it would go on refusing the app's writes."""
    invalid = "select statement from integrity.law_status where name = %s and state = 'index invalid'"
    if statement := query.value(connection, invalid, [name]):
        _take(connection, statement, policy)
