"""A gate across a database's DDL: whoever comes to a chosen command stops there until the gate is opened.

So a test can look at, or kill, a migration at a point it has chosen, without racing it there.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from tests.support.database import another

_Connection = psycopg.Connection[Any]
_KEY = 4711

_BUILD = f"""
create schema gatehouse;
-- With a key, since a publication of all tables refuses to delete from a table without.
create table gatehouse.gate (number bigint, pattern text, id boolean primary key default true);
create sequence gatehouse.passed;
-- Waiting at the gate is the test's doing, so the migration's own timeout does not count there.
create function gatehouse.pass() returns event_trigger language plpgsql set lock_timeout = 0 as $$
begin
  if exists (
    select from (select nextval('gatehouse.passed') as number offset 0) as this
    cross join gatehouse.gate where gate.number = this.number or current_query() ~* gate.pattern
  ) then
    perform pg_advisory_lock({_KEY});
    perform pg_advisory_unlock({_KEY});
  end if;
end
$$;
create event trigger gate on ddl_command_start execute function gatehouse.pass();
"""

_WAITING = f"""
select pid from pg_locks
where locktype = 'advisory' and objid = {_KEY} and not granted
  and database = (select oid from pg_database where datname = current_database())
"""


class Gate:
    """Built by `gate`."""

    def __init__(self, keeper: _Connection) -> None:
        self._keeper = keeper
        self._closed = False

    def close_at(self, command: int | str) -> None:
        """Stop whoever runs the nth DDL command from now on, or one that matches a regular expression."""
        by_number = (self.passed() + command, None) if isinstance(command, int) else (None, command)
        self._keeper.execute("delete from gatehouse.gate")
        self._keeper.execute("insert into gatehouse.gate values (%s, %s)", by_number)
        self._keeper.execute(f"select pg_advisory_lock({_KEY})")
        self._closed = True

    def passed(self) -> int:
        """Return how many DDL commands there have been."""
        row = self._keeper.execute(
            "select case when is_called then last_value else 0 end from gatehouse.passed"
        ).fetchone()
        assert row is not None
        return int(row[0])

    def wait(self, seconds: float = 120) -> int:
        """Wait until somebody stands at the gate and return the pid of their backend.

        Raises:
            AssertionError: Nobody came.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if row := self._keeper.execute(_WAITING).fetchone():
                return int(row[0])
            time.sleep(0.005)
        raise AssertionError(f"nobody came to the gate; {self.passed()} commands have passed")

    def open(self) -> None:
        """Let everybody through, for good."""
        if self._closed:
            self._keeper.execute("delete from gatehouse.gate")
            self._keeper.execute(f"select pg_advisory_unlock({_KEY})")
            self._closed = False


@contextmanager
def gate(connection: _Connection) -> Iterator[Gate]:
    """Build a gate, open, in the connection's database and take it down at the end."""
    with another(connection, autocommit=True) as keeper:
        keeper.execute(_BUILD)
        built = Gate(keeper)
        try:
            yield built
        finally:
            built.open()
            keeper.execute("drop event trigger if exists gate")
            keeper.execute("set client_min_messages = warning")
            keeper.execute("drop schema if exists gatehouse cascade")
