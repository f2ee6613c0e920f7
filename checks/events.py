"""Read the event log, newest first, as it comes, so that memory stays bounded."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import psycopg
from psycopg.rows import dict_row

from checks import query, records, render
from checks.errors import UserError, nearest
from checks.people import People
from checks.screens import log
from checks.violations import FETCH_ROWS

WANTED = """
from integrity.events
where
  (%(quest)s::bigint is null or quest_id = %(quest)s)
  and (%(user)s::uuid is null or user_id = %(user)s)
  and (%(since)s::timestamptz is null or at >= %(since)s)
  and (%(kinds)s::text[] is null or kind = any(%(kinds)s))
"""
EVENTS = f"select * {WANTED} order by at desc, id desc limit %(limit)s"
COUNT = f"select count(*) {WANTED}"

# What people are shown unless they ask for more.
SHOWN = 50

Rows = psycopg.ServerCursor[dict[str, Any]]


def require_kinds(connection: psycopg.Connection[Any], kinds: Sequence[str]) -> None:
    """Raise a UserError unless these are kinds of events."""
    known = [row[0] for row in connection.execute("select kind from integrity.event_kind")]
    for kind in kinds:
        if kind not in known:
            raise UserError(
                f"there is no kind of event {kind!r}{nearest(kind, known)}: the kinds are {', '.join(known)}"
            )


def write(connection: psycopg.Connection[Any], wanted: dict[str, Any], form: str, out: TextIO) -> None:
    """Write the events that are wanted, see `WANTED`.

    Args:
        connection: with an open transaction.
        wanted: the parameters of `EVENTS`; people are shown `SHOWN` events unless it has a limit.
        form: table or a format of `records`.
        out: where to.
    """
    if form != "table":
        with _read(connection, wanted) as rows:
            records.write(form, rows, [column.name for column in rows.description or ()], out)
        return
    limit = wanted["limit"] or SHOWN
    with _read(connection, wanted | {"limit": limit}) as rows:
        shown = log.show_events(rows, People(connection), render.console(out))
    if shown < limit:
        if not shown:
            is_chosen = any(wanted[name] is not None for name in ("quest", "user", "since", "kinds"))
            render.say(
                "no events: none was logged that fits; `quest-integrity events` without options shows the newest"
                if is_chosen
                else "no events: no approval, kick or repair was logged since the layer was attached"
            )
        return
    total = query.value(connection, COUNT, wanted)
    render.say(f"{shown:,} of {render.count(total, 'event')}, newest first; --limit N shows more")


@contextmanager
def _read(connection: psycopg.Connection[Any], wanted: dict[str, Any]) -> Iterator[Rows]:
    with connection.cursor("events", row_factory=dict_row) as rows:
        rows.itersize = FETCH_ROWS
        try:
            rows.execute(EVENTS, wanted)
        except psycopg.DataError as error:
            raise UserError(f"{wanted['since']!r} is no time: write 2026-11-01, '2026-11-01 10:30' or today") from error
        yield rows
