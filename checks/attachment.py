"""Detach the layer for a migration of the app, and attach it again: what is dropped is said by integrity.dependent.

Nothing of the law goes: constraints and markers stay, and refuse what the triggers would have put right.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import errors, sql

from checks import citus, ddl, migrate, query, resources, violations
from checks.errors import UserError, reported

# Migrations hold it for as long as they run: see migrations/env.py.
ADVISORY_LOCK = 0x7175657374

UNFIT = """
select subject, found, expected
from integrity.schema_mismatches((select app_schema from integrity.installation))
where expected not like 'no column of this name%'
order by subject, expected
"""
# The same as far as the catalog tells, for the moment that the tables are locked.
UNFIT_COLUMNS = """
select format('column %I.%I', relation, attribute), found, expected
from integrity.column_mismatch
where app_schema = (select app_schema from integrity.installation)
order by 1, 3
"""
BUILT_NEXT = """
select attachment.kind, attachment.identity, attachment.definition
from integrity.attachment as attachment
left join integrity.dependent as dependent
  on attachment.kind = dependent.kind and attachment.identity = dependent.identity
where
  attachment.is_needed
  and dependent.kind is null
  and (attachment.kind = 'trigger') = %s
order by attachment.depth, attachment.identity
"""
LOCK = "lock table {0}.applications_application, {0}.quests_questparticipant, {0}.quests_quest in access exclusive mode"
ATTACH = "run `quest-integrity attach`"


class DetachedError(UserError):
    """The layer is detached, so what was asked for cannot be done."""

    exit_code = 3


def since(connection: psycopg.Connection[Any]) -> datetime | None:
    """Return when the layer was detached, None while it is attached or was migrated before it could be."""
    try:
        moment: datetime | None = query.value(connection, "select min(at) from integrity.detached_object")
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        return None
    return moment


def said(moment: datetime) -> str:
    """Return the beginning of every sentence about a detached layer."""
    return f"the layer is detached since {moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def require_attached(connection: psycopg.Connection[Any]) -> None:
    """Make sure that the layer is attached.

    Raises:
        DetachedError: it is not.
    """
    if moment := since(connection):
        raise DetachedError(f"{said(moment)} and this needs its views and triggers: {ATTACH}")


def detach(connection: psycopg.Connection[Any], policy: ddl.LockPolicy = ddl.USUAL) -> int:
    """Drop the views and the triggers in one short transaction; return how many, 0 when they are gone already.

    Args:
        connection: in autocommit mode.
        policy: how to wait for the lock on the app's tables.

    Raises:
        UserError: it is not migrated, or something would be lost or be without law.
    """
    _installed(connection)
    try:
        connection.execute(f"set lock_timeout = '{policy.timeout:g}s'".encode())
        return int(ddl.retrying(policy, "detach")(query.value, connection, "select integrity.detach()"))
    except (errors.DependentObjectsStillExist, errors.ObjectNotInPrerequisiteState) as error:
        raise UserError(f"the layer cannot be detached, nothing was changed: {reported(error)}") from error


def attach(connection: psycopg.Connection[Any], policy: ddl.LockPolicy = ddl.USUAL) -> bool:
    """Put back what `detach` dropped, the triggers last; return False when nothing was missing.

    Args:
        connection: in autocommit mode.
        policy: how to wait for the lock on the app's tables.

    Raises:
        DetachedError: the tables no longer fit; the layer stays detached.
        UserError: it is not migrated, or by another version of the package.
    """
    revision = _installed(connection)
    if since(connection) is None:
        return False
    _refuse_unfit(connection, UNFIT)
    schema = violations.app_schema(connection)
    files = migrate.installed_files(revision, schema)
    lock = sql.SQL(LOCK).format(sql.Identifier(schema)).as_string(connection)
    connection.execute(f"set lock_timeout = '{policy.timeout:g}s'".encode())

    def views() -> None:
        _step(connection, lambda: _build(connection, files, triggers=False))

    def triggers() -> None:
        def build() -> None:
            connection.execute(lock.encode())
            _refuse_unfit(connection, UNFIT_COLUMNS)
            _build(connection, files, triggers=True)

        if remaining := _step(connection, build):
            raise UserError(f"{remaining} objects are in no file of this package: install the version that made them")

    ddl.retrying(policy, "attach")(views)
    ddl.retrying(policy, "attach")(triggers)
    return True


def _installed(connection: psycopg.Connection[Any]) -> str:
    """Return the revision of a database that this package can detach and attach."""
    revision = migrate.current_revision(connection)
    if revision is None:
        raise UserError("the database is not migrated: run `quest-integrity upgrade`")
    migrate.require_known(revision)
    if not query.value(connection, "select to_regprocedure('integrity.detach()') is not null"):
        raise UserError(f"the database is at the older revision {revision}: run `quest-integrity upgrade`")
    return revision


def _refuse_unfit(connection: psycopg.Connection[Any], unfit: str) -> None:
    lines = [f"  {what}: found {found}; expected {expected}" for what, found, expected in connection.execute(unfit)]
    if lines:
        raise DetachedError(
            "the app's tables do not fit the integrity layer, so it stays detached. Correct these, then run "
            "`quest-integrity attach`:\n" + "\n".join(lines)
        )


def _step(connection: psycopg.Connection[Any], build: Callable[[], None]) -> int:
    with connection.transaction():
        if not query.value(connection, "select pg_try_advisory_xact_lock(%s)", [ADVISORY_LOCK]):
            raise errors.LockNotAvailable("another upgrade, detach or attach is running on this database")
        # A view or trigger keeps the operators and functions that its definition found: only PostgreSQL's own will do.
        connection.execute("set local search_path = pg_catalog, pg_temp")
        connection.execute("set local client_min_messages = warning")
        build()
        return int(query.value(connection, "select integrity.settle_attachment()"))


def _build(connection: psycopg.Connection[Any], files: Mapping[str, str], *, triggers: bool) -> None:
    with resources.own_migrations():
        from migrations.sql_objects import made_by

    makers = {made: name for name, text in files.items() for made in made_by(text)}
    run: set[str] = set()
    for kind, identity, definition in connection.execute(BUILT_NEXT, [triggers]).fetchall():
        maker = makers.get((kind, identity))
        if maker is None and definition is not None:
            # What somebody added, and the union of the rules.
            citus.execute(connection, definition)
        elif maker is not None and maker not in run:
            citus.execute(connection, files[maker])
            run.add(maker)
