"""Read the event log, newest first, and write it as it comes, so that memory stays bounded."""

import csv
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TextIO

import psycopg
from psycopg.rows import dict_row

from checks.errors import UserError
from checks.violations import FETCH_ROWS

EVENTS = """
select *
from integrity.events
where
  (%(quest)s::bigint is null or quest_id = %(quest)s)
  and (%(user)s::uuid is null or user_id = %(user)s)
  and (%(since)s::timestamptz is null or at >= %(since)s)
  and (%(kinds)s::text[] is null or kind = any(%(kinds)s))
order by at desc, id desc
limit %(limit)s
"""

Rows = psycopg.ServerCursor[dict[str, Any]]


def require_kinds(connection: psycopg.Connection[Any], kinds: Sequence[str]) -> None:
    """Raise a UserError unless these are kinds of events."""
    known = [row[0] for row in connection.execute("select kind from integrity.event_kind")]
    for kind in kinds:
        if kind not in known:
            raise UserError(f"there is no kind of event {kind!r}: the kinds are {', '.join(known)}")


def write(connection: psycopg.Connection[Any], wanted: dict[str, Any], form: str, out: TextIO) -> None:
    """Write the events that are wanted (see `EVENTS`) in a format of `FORMATS`; needs an open transaction."""
    with connection.cursor("events", row_factory=dict_row) as rows:
        rows.itersize = FETCH_ROWS
        try:
            rows.execute(EVENTS, wanted)
        except psycopg.DataError as error:
            raise UserError(f"{wanted['since']!r} is no time: write 2026-11-01, '2026-11-01 10:30' or today") from error
        FORMATS[form](rows, out)


def _table(rows: Rows, out: TextIO) -> None:
    """Write a line per event for people; control characters, which clients could choose, become question marks."""
    for row in rows:
        before, after = row["before"] or {}, row["after"] or {}
        changes = ", ".join(f"{name}: {before.get(name)} -> {after.get(name)}" for name in {**before, **after})
        line = (
            f"{row['at']:%Y-%m-%d %H:%M:%S%z}  {row['kind']:<21}  quest {row['quest_id'] or '-':<7}  "
            f"{row['username'] or row['user_id'] or ''!s:<16}  {changes}  "
            f"[{row['actor']}, {row['application_name'] or 'unnamed client'}]"
        )
        out.write("".join(character if character.isprintable() else "?" for character in line) + "\n")


def _json(rows: Rows, out: TextIO) -> None:
    separator = "["
    for row in rows:
        out.write(f"{separator}\n{json.dumps(row, default=_text)}")
        separator = ","
    out.write("[]\n" if separator == "[" else "\n]\n")


def _csv(rows: Rows, out: TextIO) -> None:
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(column.name for column in rows.description or ())
    lines.writerows([_text(value) for value in row.values()] for row in rows)


def _text(value: object) -> str | None:
    if isinstance(value, dict):
        return json.dumps(value)
    return value.isoformat() if isinstance(value, datetime) else None if value is None else str(value)


FORMATS: dict[str, Callable[[Rows, TextIO], None]] = {
    "table": _table,
    "json": _json,
    "ndjson": lambda rows, out: out.writelines(json.dumps(row, default=_text) + "\n" for row in rows),
    "csv": _csv,
}
