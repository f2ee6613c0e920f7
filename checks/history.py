"""Recorded audits: keep one, list them, forget old ones. What is new, fixed or old is said by views."""

from typing import Any, TextIO

import psycopg
from psycopg.rows import dict_row

from checks import query, records, render, violations
from checks.errors import UserError
from checks.people import People
from checks.screens import log

TREND = "select * from integrity.audit_trend order by run desc limit %s"
CHANGES = (
    "select * from integrity.audit_change order by array_position(array['new', 'fixed', 'old'], change), rule, key"
)
COUNTS = "select change, count(*) from integrity.audit_change group by change"


def record(connection: psycopg.Connection[Any]) -> None:
    """Audit everything once more, in the database, and keep the outcome; the connection is in autocommit mode."""
    run = query.value(connection, "select integrity.record_audit()")
    render.say(f"recorded as run {run}: see `quest-integrity history`")


def retain(connection: psycopg.Connection[Any], keep: str) -> int:
    """Forget what was recorded longer ago, except the last audit; return how many audits that were.

    Raises:
        UserError: that is no length of time.
    """
    try:
        return int(query.value(connection, "select integrity.retain_audits(%s::interval)", [keep]))
    except psycopg.DataError as error:
        raise UserError(f"cannot keep audits for {keep!r}: write '90 days' or '12 months'") from error


def write(connection: psycopg.Connection[Any], form: str, limit: int | None, detailed: bool, out: TextIO) -> None:
    """Write the trend, newest first, or with `detailed` the violations of the last audit, in bounded memory."""
    with violations.one_snapshot(connection), connection.cursor("history", row_factory=dict_row) as rows:
        rows.itersize = violations.FETCH_ROWS
        if form != "table":
            rows.execute(*((CHANGES,) if detailed else (TREND, [limit])))
            records.write(form, rows, [column.name for column in rows.description or ()], out)
            return
        with connection.cursor(row_factory=dict_row) as cursor:
            trend = cursor.execute(TREND, [limit]).fetchall()
        if not trend:
            render.say("no audit was recorded: record one with `quest-integrity audit --record`")
            return
        on = render.console(out)
        log.show_trend(trend, on)
        found = {"new": 0, "fixed": 0, "old": 0} | dict(connection.execute(COUNTS).fetchall())
        render.put(on, "last audit: " + ", ".join(f"{number:,} {change}" for change, number in found.items()))
        if detailed:
            log.show_known(rows.execute(CHANGES), People(connection), on)
