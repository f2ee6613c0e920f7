"""The steps that migrations take on app tables in use, online one short transaction each, offline as plain SQL."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import postgresql

from checks import ddl
from checks.errors import UserError
from checks.law import Unenforced, advance
from migrations.options import app_schema, created_tables, is_offline, options
from migrations.sql_objects import driver, execute, localize

LAW = sa.table(
    "law",
    sa.column("name", sa.Text),
    sa.column("relation", sa.Text),
    sa.column("kind", sa.Text),
    sa.column("columns", sa.Text),
    sa.column("definition", sa.Text),
    sa.column("requires", sa.Text),
    sa.column("waits", sa.Boolean),
    sa.column("stand_in", sa.Text),
    sa.column("rules", sa.ARRAY(sa.Text)),
    schema="integrity",
)


def lock_policy() -> ddl.LockPolicy:
    """Return how `-x lock-timeout` and `-x lock-retries` say to wait for locks."""
    return ddl.LockPolicy(timeout=options().lock_timeout, retries=options().lock_retries)


@contextmanager
def autocommit() -> Iterator[psycopg.Connection[Any]]:
    """Leave the migration's transaction: every statement on the connection yielded commits by itself."""
    with op.get_context().autocommit_block():
        yield driver()


def each_alone(statements: Sequence[str]) -> None:
    """Run statements that lock an app table, each in a short transaction of its own, retrying for the lock."""
    if is_offline():
        for statement in statements:
            execute(statement)
        return
    with autocommit() as connection:
        for statement in statements:
            ddl.run(connection, localize(statement), lock_policy())


def under_lock(tables: Sequence[str], work: Callable[[], None]) -> None:
    """Do the work in the migration's transaction with the tables locked against everybody, retrying for the lock.

    The tables are locked in the order in which the app writes them, so that it rarely meets a deadlock.
    """
    if is_offline():
        work()
        return
    lock = localize(f"lock table {', '.join(f'public.{table}' for table in tables)} in access exclusive mode")
    ddl.in_transaction(driver(), lock, lock_policy(), work)


def record_law(rows: Sequence[dict[str, object]]) -> None:
    """List constraints in integrity.law: what integrity.law_status works from."""
    defaults: dict[str, object] = {
        "columns": None,
        "definition": "",
        "requires": None,
        "waits": False,
        "stand_in": None,
    }
    values = [
        defaults
        | row
        | {
            "definition": localize(str(row.get("definition", ""))),
            # An array literal without elements has no type of its own.
            "rules": row["rules"] or sa.literal_column("array[]::text[]"),
        }
        for row in rows
    ]
    op.execute(postgresql.insert(LAW).values(values).on_conflict_do_nothing())


def forget_law(names: Sequence[str]) -> None:
    """Take constraints off integrity.law."""
    quoted = ", ".join(f"'{name}'" for name in names)
    op.execute(f"delete from integrity.law where name in ({quoted})")


def enforce(names: Sequence[str] | None = None) -> list[Unenforced]:
    """Build, attach and validate constraints of the law as far as the rows allow; return what remains."""
    if is_offline():
        _enforce_offline(names)
        return []
    with autocommit() as connection:
        remaining = advance(connection, lock_policy(), names)
        connection.execute("reset statement_timeout")
    return remaining


def _enforce_offline(names: Sequence[str] | None) -> None:
    """Print a loop over integrity.law_status; a script is for an empty database, so it needs no CONCURRENTLY."""
    chosen = "true" if names is None else "name in ({})".format(", ".join(f"'{name}'" for name in names))
    execute(f"""
do $$
declare
  step text;
begin
  loop
    select statement
    into step
    from integrity.law_status
    where statement is not null and {chosen}
    order by position
    limit 1;
    exit when step is null;
    execute replace(step, ' concurrently ', ' ');
  end loop;
end
$$""")


# What stands on the tables and is neither theirs nor ours.
STANDING_ON = """
with dropped as (
  select to_regclass(:schema || '.' || quote_ident(name))::oid as id
  from unnest(cast(:names as text[])) as name
)
select distinct pg_describe_object(dependency.classid, dependency.objid, 0)
from pg_depend as dependency
left join pg_constraint as reference
  on dependency.classid = 'pg_constraint'::regclass and reference.oid = dependency.objid
left join pg_rewrite as rule
  on dependency.classid = 'pg_rewrite'::regclass and rule.oid = dependency.objid
left join pg_class as view
  on view.oid = rule.ev_class
where
  dependency.classid in ('pg_constraint'::regclass, 'pg_rewrite'::regclass, 'pg_proc'::regclass, 'pg_class'::regclass)
  and dependency.refclassid = 'pg_class'::regclass
  and dependency.refobjid in (select id from dropped)
  and dependency.deptype = 'n'
  and coalesce(reference.conrelid not in (select id from dropped), true)
  and coalesce(view.relnamespace <> to_regnamespace('integrity'), true)
order by 1
"""


def refuse_to_drop_tables(connection: sa.Connection) -> None:
    """Refuse a downgrade that would drop app tables of ours that others need, or rows that the user did not give up.

    Raises:
        UserError: something else stands on a table, or a table holds rows and `-x drop-app-tables=true` is missing.
    """
    names, schema = created_tables(connection), connection.dialect.identifier_preparer.quote(app_schema())
    standing = connection.scalars(sa.text(STANDING_ON), {"names": names, "schema": schema}).all()
    if standing:
        raise UserError(
            f"The downgrade would drop {', '.join(names)}, created by these migrations, but others need them: "
            f"{', '.join(standing)}. Drop those first, or keep the tables and remove the rest: downgrade to "
            "0001_app_tables."
        )
    if options().drop_app_tables:
        return
    held = [name for name in names if connection.scalar(sa.text(f"select exists (select from {schema}.{name})"))]
    if held:
        raise UserError(
            f"The downgrade would drop {', '.join(held)}, created by these migrations and holding rows; "
            "expected them empty. To drop them with their rows add -x drop-app-tables=true; to keep them and "
            "remove the rest downgrade to 0001_app_tables."
        )


def hand_over() -> None:
    """Give the layer's objects their owner and grants: the last step of every migration that creates some."""
    _settle_roles("select * from integrity.grant_roles()")


def take_back() -> None:
    """Undo `hand_over` for the whole layer."""
    _settle_roles("select * from integrity.revoke_roles()")


def _settle_roles(query: str) -> None:
    if is_offline():
        execute(query)
        return

    connection, policy = driver(), lock_policy()

    def settle() -> list[str]:
        with connection.transaction():
            # First what the app's triggers write, as long as nothing else is held.
            connection.execute("lock table integrity.event in access exclusive mode")
            return [line for (line,) in connection.execute(query.encode())]

    # A change of owner locks every table and view of the layer, which others may be reading.
    connection.execute(f"set local lock_timeout = '{policy.timeout:g}s'".encode())
    left = ddl.retrying(policy, "owner of the layer")(settle)
    # One upgrade hands over more than once and has the same to say each time.
    if left and left != context.config.attributes.get("left_to_dba"):
        context.config.attributes["left_to_dba"] = left
        ddl.say("\n".join(["roles of the layer, left to a DBA (docs/roles.md):", *left]))
