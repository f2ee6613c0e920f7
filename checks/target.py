"""Which database to work on, how to connect to it, and what to tell the user when that or a statement fails."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from checks import citus, server
from checks.errors import UserError, one_line, reported

if TYPE_CHECKING:
    import sqlalchemy

APPLICATION_NAME = "quest-integrity"
CONNECT_SECONDS = 10
# With any of these set, libpq knows where to connect.
LIBPQ_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE")
EXPECTED = "postgresql://user@host:5432/dbname or 'host=... dbname=...'"

# A refused connection carries no SQLSTATE, only libpq's or the server's text.
CONNECT_FAILURES = (
    (r"password authentication failed|no password supplied", "wrong or missing password: give the right one"),
    (r'database ".*" does not exist', "there is no such database: create it, or correct the name"),
    (r'role ".*" does not exist', "there is no such user: create the role, or correct the name"),
    (r"pg_hba\.conf|authentication failed", "the server does not admit this user from here: check pg_hba.conf"),
    (r"too many clients|connection slots", "the server has no free connection: try again later"),
    (r"starting up|shutting down|recovery mode", "the server is not ready: try again in a moment"),
    (r"service .* not found|service file", "there is no such service: check PGSERVICE and pg_service.conf"),
    (r"certificate|SSL", "no agreement on TLS: check sslmode, sslrootcert and the certificates"),
    (r"permission denied for database", "this user lacks CONNECT on the database: grant it"),
    (r"FATAL:", "the server refused the connection: correct what it names"),
)
CONNECT_ADVICE = "the server cannot be reached: start it, or correct host and port"

NOT_MIGRATED = "the database is not migrated to this version: run `quest-integrity upgrade`"
# By SQLSTATE; the longest prefix counts.
FAILURES = {
    "08": "the connection to the database was lost: check the server and run the command again",
    "57P": "the server ended the connection: check the server and run the command again",
    "23": "a constraint refused the change: correct the rows that it names",
    "25006": "the database is read-only: connect to the primary, or unset default_transaction_read_only",
    "28": "the server does not admit this user: check the user and its password",
    "3F000": NOT_MIGRATED,
    "40": "a deadlock or a conflict with another session: run the command again",
    "42501": "this user lacks a permission: connect as the owner of the tables, or have it granted",
    "42703": NOT_MIGRATED,
    "42883": NOT_MIGRATED,
    "42P01": NOT_MIGRATED,
    "53": "the server has run out of a resource: see its log",
    "53100": "the server's disk is full: free some space and run the command again",
    "53300": "the server has no free connection: try again later",
    "P0001": "a trigger or function of the database raised an error: correct what it names",
    "55P03": "another session holds a lock for longer than lock_timeout: run the command again when it has finished",
    "57014": "the statement was cancelled or ran into statement_timeout: raise the timeout or run it again",
    "58": "the server reports an error of its disk or operating system: see its log",
    "XX": "the server reports an internal error or damaged data: see its log",
}


@dataclass(frozen=True)
class Target:
    """A database to work on.

    Args:
        conninfo: libpq connection string or URI; empty leaves everything to libpq's environment.
        source: Where it comes from, for the user: ``from --database-url``, ``embedded server``.
    """

    # It may hold a password, so it must not show up in a representation.
    conninfo: str = field(repr=False)
    source: str

    def connect(self, autocommit: bool = False) -> psycopg.Connection[Any]:
        """Open a connection.

        Args:
            autocommit: Whether each statement commits by itself.

        Raises:
            UserError: The server cannot be reached, or refuses the connection.
        """
        given = conninfo_to_dict(self.conninfo)
        # libpq prefers an application_name of the user's, wherever that comes from.
        settings: dict[str, Any] = {"fallback_application_name": APPLICATION_NAME, **given}
        # A service named in the string may set a timeout that only libpq gets to see.
        if "service" not in given and "connect_timeout" not in self._settings():
            settings["connect_timeout"] = CONNECT_SECONDS
        try:
            connection = psycopg.connect(autocommit=True, **settings)
            citus.prepare(connection)
        except psycopg.Error as error:
            raise self._connect_failure(error) from error
        connection.autocommit = autocommit
        return connection

    def engine(self) -> sqlalchemy.Engine:
        """Return an SQLAlchemy engine on the same database; it opens a connection for every checkout."""
        import sqlalchemy

        # Not by a URL: SQLAlchemy's cannot express all that libpq's may.
        return sqlalchemy.create_engine("postgresql+psycopg://", creator=self.connect, poolclass=sqlalchemy.NullPool)

    def describe(self) -> str:
        """Return the line that tells the user which database this is, without the password."""
        return f"database: {self._address()} ({self.source})"

    def _settings(self) -> dict[str, str]:
        defaults = {
            option.keyword.decode(): option.val.decode() for option in Conninfo.get_defaults() if option.val is not None
        }
        return defaults | {name: str(value) for name, value in conninfo_to_dict(self.conninfo).items()}

    def _address(self) -> str:
        settings = self._settings()
        if "service" in settings and "host" not in conninfo_to_dict(self.conninfo):
            return f"service {settings['service']}"
        user = settings.get("user", "")
        host = settings.get("host") or settings.get("hostaddr") or "[local]"
        return f"{user}@{host}:{settings['port']}/{settings.get('dbname', user)}"

    def _connect_failure(self, error: psycopg.Error) -> UserError:
        # Our sentence says that it failed and what to do.
        reason = re.sub(r"^connection (failed|is bad): |;? Is the server running .*?\?", "", one_line(str(error)))
        found = (advice for pattern, advice in CONNECT_FAILURES if re.search(pattern, reason))
        advice = next(found, CONNECT_ADVICE)
        return UserError(f"cannot connect to {self._address()}: {advice} ({self._without_secrets(reason)})")

    def _without_secrets(self, text: str) -> str:
        settings = self._settings()
        for option in Conninfo.get_defaults():
            # libpq marks what must not be displayed.
            secret = settings.get(option.keyword.decode()) if option.dispchar == b"*" else None
            if secret:
                text = text.replace(secret, "***")
        return text


def resolve(option: str | None, *, start: bool = True) -> Target:
    """Find out which database to work on.

    The first of these counts: the option, ``DATABASE_URL``, libpq's own environment variables, the user's
    embedded server, which is started if need be.

    Args:
        option: The value of ``--database-url``, if it was given.
        start: Whether the embedded server is started when it is needed.

    Raises:
        UserError: The URL is malformed, or the embedded server does not start.
    """
    if option is not None:
        return _given(option, "--database-url")
    if url := os.environ.get("DATABASE_URL"):
        return _given(url, "DATABASE_URL")
    if names := [name for name in LIBPQ_VARIABLES if os.environ.get(name)]:
        return Target("", f"from {', '.join(names)}")
    embedded = server.persistent()
    if start:
        embedded.start()
    return Target(embedded.url, "embedded server")


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Turn errors of the database or of the connection into a ``UserError``.

    Errors that point at a bug of ours, such as a syntax error, pass through.

    Raises:
        UserError: With the original as its cause.
    """
    try:
        yield
    except Exception as error:
        failure = as_user_error(error)
        if failure is None:
            raise
        raise failure from error


def as_user_error(error: Exception) -> UserError | None:
    """Return what to tell the user about an error, or ``None`` when it points at a bug of ours."""
    # SQLAlchemy, which not every command imports, wraps the driver's error.
    original = getattr(error, "orig", error)
    return _failure(original) if isinstance(original, psycopg.Error) else None


def _given(text: str, name: str) -> Target:
    # SQLAlchemy's form names a driver, which is ours to choose.
    conninfo, is_url = re.subn(r"^postgres(ql)?(\+\w+)?://", "postgresql://", text)
    try:
        settings = conninfo_to_dict(conninfo)
    except psycopg.ProgrammingError:
        # Its text, like its traceback, quotes parts of the string, which may be of the password.
        settings = {}
    host, port, dbname = (str(settings.get(key, "")) for key in ("host", "port", "dbname"))
    # A password with a bare @ or / shifts its rest into the fields that are displayed.
    shifted = is_url and ("@" in host[1:] or "@" in dbname or not re.fullmatch(r"[\d,]*", port))
    if not settings or shifted or "://" in dbname:
        raise UserError(
            f"{name} is not a connection string that libpq understands: expected {EXPECTED}, "
            "with special characters of a URL's password percent-encoded"
        )
    return Target(conninfo, f"from {name}")


def _failure(error: psycopg.Error) -> UserError | None:
    state = error.sqlstate
    if state is None:
        # Raised by the client: the server has reported nothing.
        lost = isinstance(error, psycopg.OperationalError)
        return UserError(f"{FAILURES['08']} ({one_line(str(error))})") if lost else None
    prefixes = [prefix for prefix in FAILURES if state.startswith(prefix)]
    if not prefixes:
        return None
    return UserError(f"{FAILURES[max(prefixes, key=len)]} ({reported(error)}; SQLSTATE {state})")
