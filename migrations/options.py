"""The options `-x key=value` of a migration, and the app's schema."""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields

from alembic import context, op
from sqlalchemy import text
from sqlalchemy.engine import Connection

from checks.errors import UserError

_DURATION = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>ms|s|min)?")
_SECONDS = {"ms": 0.001, "s": 1.0, None: 1.0, "min": 60.0}
_LONGEST = 24 * 60 * 60.0
_INTEGER = 2**31 - 1


def seconds(value: str) -> float:
    """Return a duration such as `2s`, `500ms`, `1min` or `2` in seconds.

    Raises:
        UserError: the value is not a duration, or more than a day.
    """
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise UserError(f"{value!r} is not a duration: write for example 500ms, 2s or 1min.")
    found = float(match["number"]) * _SECONDS[match["unit"]]
    if found > _LONGEST:
        raise UserError(f"{value!r} is more than a day.")
    return found


def _timeout(value: str) -> float:
    found = seconds(value)
    # PostgreSQL rounds to milliseconds, and 0 means to wait forever, with all clients queued behind.
    if found < 0.001:
        raise UserError(f"{value!r} is less than 1ms.")
    return found


def _count(value: str) -> int:
    if not re.fullmatch("[0-9]{1,10}", value) or not 1 <= int(value) <= _INTEGER:
        raise UserError(f"{value!r} is not a whole number from 1 to {_INTEGER}.")
    return int(value)


def _schema(value: str) -> str:
    if not value or value in {"integrity", "information_schema"} or value.startswith("pg_"):
        raise UserError(f"{value!r} cannot hold the app's tables.")
    # The name becomes part of function bodies, and of string literals in them.
    if found := sorted(set(value) & set("'\"\\%:$")):
        raise UserError(f"{value!r} contains {' '.join(found)}, which is not supported in the name of a schema.")
    return value


def _flag(value: str) -> bool:
    if value not in {"true", "false"}:
        raise UserError(f"{value!r} is neither true nor false.")
    return value == "true"


@dataclass(frozen=True)
class Options:
    """The `-x` options: durations in seconds, `backfill_batch` in rows."""

    app_schema: str | None = None
    drop_app_tables: bool = False
    drop_records: bool = False
    lock_timeout: float = 2.0
    lock_retries: int = 30
    backfill_batch: int = 2000
    backfill_pause: float = 0.0


_PARSERS: dict[str, Callable[[str], object]] = {
    "app_schema": _schema,
    "drop_app_tables": _flag,
    "drop_records": _flag,
    "lock_timeout": _timeout,
    "lock_retries": _count,
    "backfill_batch": _count,
    "backfill_pause": seconds,
}


def parse(given: dict[str, str]) -> Options:
    """Return the options of `-x key=value …`; keys may be written with `-` or `_`.

    Raises:
        UserError: an unknown key or a malformed value.
    """
    values: dict[str, object] = {}
    for key, value in given.items():
        name = key.replace("-", "_")
        if name not in _PARSERS:
            known = ", ".join(field.name.replace("_", "-") for field in fields(Options))
            raise UserError(f"-x {key}={value}: no such option; the options are {known}.")
        try:
            values[name] = _PARSERS[name](value)
        except UserError as error:
            raise UserError(f"-x {key}: {error}") from error
    return Options(**values)  # type: ignore[arg-type]


def options() -> Options:
    """Return the options of the running migration."""
    found: Options = context.config.attributes["options"]
    return found


def app_schema() -> str:
    """Return the schema of the app's tables in the running migration."""
    found: str = context.config.attributes["app_schema"]
    return found


def installed_app_schema(connection: Connection) -> str | None:
    """Return the app's schema as recorded by the first migration, None before it has run."""
    if connection.scalar(text("select to_regclass('integrity.installation')")) is None:
        return None
    found: str | None = connection.scalar(text("select app_schema from integrity.installation"))
    return found


def created_tables(connection: Connection) -> list[str]:
    """Return the app tables that the migrations created, none before the first one has run."""
    if installed_app_schema(connection) is None:
        return []
    return list(connection.scalar(text("select created_tables from integrity.installation")) or [])


def is_offline() -> bool:
    """Whether the running migration only prints SQL (`alembic upgrade --sql`)."""
    return bool(op.get_context().as_sql)


def law_on_request(connection: Connection) -> list[str]:
    """Return the constraints of the law that are enforced only when somebody asks for them."""
    if connection.scalar(text("select to_regclass('integrity.law')")) is None:
        return []
    return list(connection.scalars(text("select name from integrity.law where chosen is not null")))
