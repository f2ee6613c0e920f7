"""Recorded audits: keep one, list them, forget old ones. What is new, fixed or old is said by views."""

from typing import Any, TextIO

import psycopg
from psycopg.rows import dict_row

from checks import events, render, violations
from checks.errors import UserError

TREND = "select * from integrity.audit_trend order by run desc limit %s"
CHANGES = (
    "select * from integrity.audit_change order by array_position(array['new', 'fixed', 'old'], change), rule, key"
)
COUNTS = "select change, count(*) from integrity.audit_change group by change"


def record(connection: psycopg.Connection[Any]) -> None:
    """Audit everything once more, in the database, and keep the outcome; the connection is in autocommit mode."""
    row = connection.execute("select integrity.record_audit()").fetchone()
    render.say(f"recorded as run {row and row[0]}: see `quest-integrity history`")


def retain(connection: psycopg.Connection[Any], keep: str) -> int:
    """Forget what was recorded longer ago, except the last audit; return how many audits that were.

    Raises:
        UserError: that is no length of time.
    """
    try:
        row = connection.execute("select integrity.retain_audits(%s::interval)", [keep]).fetchone()
    except psycopg.DataError as error:
        raise UserError(f"cannot keep audits for {keep!r}: write '90 days' or '12 months'") from error
    return int(row[0]) if row else 0


def write(connection: psycopg.Connection[Any], form: str, limit: int | None, detailed: bool, out: TextIO) -> None:
    """Write the trend, newest first, or with `detailed` the violations of the last audit, in bounded memory."""
    with violations.one_snapshot(connection), connection.cursor("history", row_factory=dict_row) as rows:
        rows.itersize = violations.FETCH_ROWS
        if form != "table":
            rows.execute(*((CHANGES,) if detailed else (TREND, [limit])))
            events.FORMATS[form](rows, out)
            return
        on = render.console(out)
        with connection.cursor(row_factory=dict_row) as trend:
            render.show_trend(trend.execute(TREND, [limit]), on)
            runs = trend.rowcount
        if not runs:
            on.print("no audit was recorded: run `quest-integrity audit --record`")
            return
        found = {"new": 0, "fixed": 0, "old": 0} | dict(connection.execute(COUNTS).fetchall())
        on.print("last audit: " + ", ".join(f"{number:,} {change}" for change, number in found.items()))
        for row in rows.execute(CHANGES) if detailed else ():
            on.print(f"{row['change']:<5}  {row['key']}  seen first {row['first_seen']:%Y-%m-%d %H:%M:%S %z}")
