"""Alembic's environment: finds the database, sets timeouts and runs one upgrade at a time.

`alembic_version` is in schema integrity, apart from an Alembic of the app.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic import context
from alembic.runtime.environment import NameFilterParentNames, NameFilterType
from alembic.runtime.migration import RevisionStep
from sqlalchemy import Connection, text
from sqlalchemy.sql.schema import SchemaItem

from checks import attachment, citus, migrate
from checks import target as targets
from checks.attachment import ADVISORY_LOCK
from checks.errors import UserError
from migrations import options as migration_options
from migrations.changes import refuse_damage
from migrations.steps import refuse_to_drop_records, refuse_to_drop_tables
from migrations.tables import metadata

WAIT_FOR_OTHER_UPGRADE_SECONDS = 600
STATEMENT_TIMEOUT = "15min"
# Revisions are named in their order.
WRITES_MANIFEST = "0013_history"

# A role that may create functions and operators in the app's schema could shadow those of PostgreSQL. They would run
# with the rights of the migrating role, or be stored in a view, a CHECK or a WHEN clause.
PIN = "set search_path = pg_catalog, pg_temp"
# What reads the whole catalog is planned as expensive and takes a tenth of a second: compiling it takes ten times that.
INTERPRET = "set jit = off"

LEFT_IN_SCHEMA = """
select pg_describe_object(classid, objid, objsubid)
from pg_depend
where refclassid = 'pg_namespace'::regclass and refobjid = to_regnamespace('integrity') and deptype = 'n'
order by 1
"""


def include_name(name: str | None, kind: NameFilterType, parents: NameFilterParentNames) -> bool:
    """Include the app's (the default) schema and schema integrity, and only tables of the metadata."""
    if kind == "schema":
        return name in {None, "integrity"}
    if kind == "table":
        return parents["schema_qualified_table_name"] in metadata.tables
    return True


def include_object(
    item: SchemaItem, name: str | None, kind: str, reflected: bool, compare_to: SchemaItem | None
) -> bool:
    """Exclude the app's own columns, keys and indexes on an adopted database, and the law on request: they differ."""
    table = getattr(item, "table", None)
    if name in context.config.attributes["law_on_request"]:
        return False
    if kind == "table" or table is None or table.schema is not None:
        return True
    ours = (name or "").startswith("integrity_") and name != "integrity_participant_key"
    return ours or table.name in context.config.attributes["created_tables"]


def _configure(**where: Any) -> None:
    context.configure(
        target_metadata=metadata,
        version_table_schema="integrity",
        include_schemas=True,
        include_name=include_name,
        include_object=include_object,
        transaction_per_migration=True,
        compare_type=True,
        **where,
    )


def _x_options() -> migration_options.Options:
    given = context.get_x_argument(as_dictionary=True)
    return migration_options.parse({key: str(value) for key, value in given.items()})


def run_offline() -> None:
    """Print the SQL of an upgrade of an empty database, or of a downgrade."""
    options = _x_options()
    schema = options.app_schema or "public"
    context.config.attributes.update(options=options, app_schema=schema)
    _configure(dialect_name="postgresql", literal_binds=True, dialect_opts={"paramstyle": "named"})
    context.execute("create schema if not exists integrity")
    context.execute(PIN)
    context.execute(INTERPRET)
    context.execute(f"set lock_timeout = '{options.lock_timeout:g}s'")
    context.run_migrations()


@contextmanager
def _only_upgrade(connection: Connection) -> Iterator[None]:
    """Hold the advisory lock. Polls for it, because a waiting statement would block CREATE INDEX CONCURRENTLY."""
    deadline = time.monotonic() + WAIT_FOR_OTHER_UPGRADE_SECONDS
    told = False
    while not connection.scalar(text(f"select pg_try_advisory_lock({ADVISORY_LOCK})")):
        connection.rollback()
        if time.monotonic() > deadline:
            raise UserError(
                f"Another upgrade has held the advisory lock for {WAIT_FOR_OTHER_UPGRADE_SECONDS} s. "
                "Find it in pg_stat_activity (application_name quest-integrity), wait for it to end, then try again."
            )
        if not told:
            print("another upgrade is running on this database; waiting for it to end", file=sys.stderr)
            told = True
        time.sleep(0.2)
    connection.commit()
    try:
        yield
    finally:
        if not connection.closed and not connection.invalidated:
            connection.rollback()
            connection.execute(text(f"select pg_advisory_unlock({ADVISORY_LOCK})"))
            connection.commit()


def _resolve_app_schema(connection: Connection, options: migration_options.Options) -> str:
    installed = migration_options.installed_app_schema(connection)
    wanted = options.app_schema
    if installed and wanted and installed != wanted:
        raise UserError(
            f"-x app-schema={wanted}: this database was migrated with the app's tables in {installed}; "
            "leave the option out, or downgrade to base first."
        )
    schema = installed or wanted or "public"
    if connection.scalar(text("select to_regnamespace(quote_ident(:name))"), {"name": schema}) is None:
        raise UserError(f"-x app-schema={schema}: the database has no such schema; create it or name another.")
    return schema


def _prepare(connection: Connection, options: migration_options.Options, schema: str) -> None:
    if connection.scalar(text("select to_regnamespace('integrity')")) is None:
        connection.execute(text("create schema integrity"))
    connection.execute(text(f"set lock_timeout = '{options.lock_timeout:g}s'"))
    connection.execute(text(f"set statement_timeout = '{STATEMENT_TIMEOUT}'"))
    # Citus warns of what it does.
    least = "error" if context.config.attributes["on_citus"] else "warning"
    connection.execute(text(f"set client_min_messages = {least}"))
    connection.commit()
    connection.dialect.default_schema_name = schema


def _leave_no_trace_at_base(connection: Connection) -> None:
    """Drop schema integrity when no revision is left: after a downgrade to base or a failed first migration."""
    connection.rollback()
    version_table = "integrity.alembic_version"
    if connection.scalar(text(f"select to_regclass('{version_table}')")) is not None:
        if connection.scalar(text(f"select count(*) from {version_table}")):
            return
        connection.execute(text(f"drop table {version_table}"))
    if connection.scalar(text("select to_regnamespace('integrity')")) is not None:
        if left := connection.scalars(text(LEFT_IN_SCHEMA)).all():
            print(f"warning: schema integrity is kept, it has other objects: {', '.join(left)}", file=sys.stderr)
        else:
            connection.execute(text("drop schema integrity"))
    connection.commit()


def _tell_the_planner(connection: Connection) -> None:
    """Analyze the manifest: without statistics the planner expects so many rows that it JIT-compiles guard_status.

    Not in a migration: an autovacuum of the manifest and the grants of the migration could deadlock.
    """
    if connection.scalar(text("select to_regclass('integrity.guard') is not null")):
        connection.execute(text("analyze integrity.guard"))
    connection.commit()


def run_online(target: targets.Target) -> None:
    """Run the migrations on the target database."""
    options = _x_options()
    with target.engine().connect() as connection:
        connection.execute(text(PIN))
        connection.execute(text(INTERPRET))
        connection.commit()
        with _only_upgrade(connection):
            _run(connection, options)


def _require_attached(connection: Connection) -> None:
    """Refuse to go on from a detached layer, except to leave."""
    if connection.scalar(text("select to_regclass('integrity.detached_object')")) is not None:
        since = connection.scalar(text("select min(at) from integrity.detached_object"))
        if since is not None:
            raise attachment.DetachedError(
                f"{attachment.said(since)}: {attachment.ATTACH} before you upgrade or downgrade, "
                "or remove everything with `quest-integrity downgrade base`"
            )
    connection.rollback()


def _steps() -> tuple[list[str], bool]:
    """Return the revisions to run or to take back, however the destination was named, and whether it goes down."""
    migration = context.get_context()
    steps = migration.opts["fn"](migration.get_current_heads(), migration)
    # Of `alembic stamp` they are others.
    steps = [step for step in steps if isinstance(step, RevisionStep)]
    return [step.revision.revision for step in steps], any(step.is_downgrade for step in steps)


def _refuse_loss(connection: Connection, current: str | None, revisions: list[str], *, down: bool) -> None:
    """Refuse to drop what nobody has given up, and to take damage for right."""
    if down:
        refuse_to_drop_records(connection, revisions)
    has_manifest = current is not None and current >= WRITES_MANIFEST
    if has_manifest and revisions and WRITES_MANIFEST not in revisions:
        refuse_damage(connection)
    connection.rollback()


def _run(connection: Connection, options: migration_options.Options) -> None:
    _configure(connection=connection)
    # First of all: a newer version may have changed everything else.
    if (current := context.get_context().get_current_revision()) is not None:
        migrate.require_known(current)
    connection.rollback()
    schema = _resolve_app_schema(connection, options)
    driver: Any = connection.connection.driver_connection
    context.config.attributes.update(
        options=options,
        app_schema=schema,
        created_tables=migration_options.created_tables(connection),
        law_on_request=migration_options.law_on_request(connection),
        on_citus=citus.is_distributed(driver, schema),
    )
    _prepare(connection, options, schema)
    try:
        migrates = "destination_rev" in context.get_context().opts
        if not migrates:
            # `alembic check`: the metadata has no schema for the app's tables.
            quoted = connection.dialect.identifier_preparer.quote(schema)
            connection.execute(text(f"set search_path = {quoted}"))
            connection.commit()
        if context.get_context().opts.get("destination_rev") == "base":
            refuse_to_drop_tables(connection)
            connection.rollback()
        elif migrates:
            _require_attached(connection)
        if migrates:
            revisions, down = _steps()
            context.config.attributes["last_revision"] = revisions[-1] if revisions else None
            _refuse_loss(connection, current, revisions, down=down)
        context.run_migrations()
        if migrates:
            _tell_the_planner(connection)
    finally:
        if not connection.closed and not connection.invalidated:
            _leave_no_trace_at_base(connection)


def main() -> None:
    """Run on the target given by the runner, else on the one named by the environment."""
    given: targets.Target | None = context.config.attributes.get("target")
    if context.is_offline_mode():
        run_offline()
    elif given is not None:
        run_online(given)
    else:
        try:
            target = targets.resolve(None)
            print(target.describe(), file=sys.stderr)
            with targets.user_errors():
                run_online(target)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2) from error


main()
