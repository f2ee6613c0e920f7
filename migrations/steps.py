"""The steps of migrations on app tables in use: online each in a short transaction, offline as plain SQL."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import postgresql

from checks import ddl, render
from checks.errors import UserError
from checks.law import Unenforced, advance
from migrations.options import app_schema, created_tables, is_offline, options
from migrations.sql_objects import driver, execute, localize, on_citus, quoted_app_schema

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
    sa.column("chosen", sa.Boolean),
    sa.column("built_in", sa.Boolean),
    schema="integrity",
)


def distribute_by_quest(table: str) -> None:
    """On Citus, keep each row of a table of ours on the node of its quest, where the triggers write it."""
    if on_citus():
        quests = localize("public.quests_quest")
        execute(f"select create_distributed_table('{table}', 'quest_id', colocate_with => '{quests}')")


def lock_policy() -> ddl.LockPolicy:
    """Return the lock policy set by `-x lock-timeout` and `-x lock-retries`."""
    return ddl.LockPolicy(timeout=options().lock_timeout, retries=options().lock_retries)


@contextmanager
def autocommit() -> Iterator[psycopg.Connection[Any]]:
    """Leave the migration's transaction and yield a connection in autocommit mode."""
    with op.get_context().autocommit_block():
        yield driver()


def each_alone(statements: Sequence[str]) -> None:
    """Run statements that lock an app table, each in its own transaction; retry when the lock times out."""
    if is_offline():
        for statement in statements:
            execute(statement)
        return
    with autocommit() as connection:
        for statement in statements:
            ddl.run(connection, localize(statement), lock_policy())


def under_lock(tables: Sequence[str], work: Callable[[], None]) -> None:
    """Lock the tables in ACCESS EXCLUSIVE mode, then do the work; retry when the lock times out.

    The work is done in the migration's transaction. The tables are locked in the order in which the app writes them, to
    make deadlocks rare.
    """
    if is_offline():
        work()
        return
    lock = localize(f"lock table {', '.join(f'public.{table}' for table in tables)} in access exclusive mode")
    ddl.in_transaction(driver(), lock, lock_policy(), work)


def record_law(rows: Sequence[dict[str, object]]) -> None:
    """Add constraints to integrity.law, which integrity.law_status reads."""
    defaults: dict[str, object] = {
        "columns": None,
        "definition": "",
        "requires": None,
        "waits": False,
        "stand_in": None,
        "chosen": None,
        "built_in": True,
    }
    values = [
        defaults
        | row
        | {
            "definition": localize(str(row.get("definition", ""))),
            # An empty array literal has no type.
            "rules": row["rules"] or sa.literal_column("array[]::text[]"),
        }
        for row in rows
    ]
    op.execute(postgresql.insert(LAW).values(values).on_conflict_do_nothing())


def forget_law(names: Sequence[str]) -> None:
    """Remove constraints from integrity.law."""
    quoted = ", ".join(f"'{name}'" for name in names)
    op.execute(f"delete from integrity.law where name in ({quoted})")


def drop_key(key: dict[str, object]) -> None:
    """Drop a unique key of the law, or the index left by an interrupted build, each in its own transaction."""
    each_alone(
        [
            f"alter table public.{key['relation']} drop constraint if exists {key['name']}",
            f"drop index if exists {quoted_app_schema()}.{key['name']}",
        ]
    )


def enforce(names: Sequence[str] | None = None) -> list[Unenforced]:
    """Build, add and validate constraints of the law as far as the rows allow; return those not enforced."""
    if is_offline():
        _enforce_offline(names)
        return []
    with autocommit() as connection:
        remaining = advance(connection, lock_policy(), names)
        connection.execute("reset statement_timeout")
    return remaining


def _enforce_offline(names: Sequence[str] | None) -> None:
    """Print a loop over integrity.law_status, without CONCURRENTLY: the script is for an empty database."""
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


# Objects that depend on the tables and belong neither to them nor to the layer.
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
    """Refuse a downgrade that would drop an app table, created by the migrations, that has dependent objects or rows.

    Raises:
        UserError: another object depends on a table, or a table has rows and `-x drop-app-tables=true` is missing.
    """
    names, schema = created_tables(connection), connection.dialect.identifier_preparer.quote(app_schema())
    standing = connection.scalars(sa.text(STANDING_ON), {"names": names, "schema": schema}).all()
    if standing:
        raise UserError(
            f"The downgrade would drop {', '.join(names)}, created by these migrations, but these objects depend on "
            f"them: {', '.join(standing)}. Drop those first, or keep the tables and remove the rest: downgrade to "
            "0001_app_tables."
        )
    if options().drop_app_tables:
        return
    held = [name for name in names if connection.scalar(sa.text(f"select exists (select from {schema}.{name})"))]
    if held:
        raise UserError(
            f"The downgrade would drop {', '.join(held)}, created by these migrations, with the rows in them. "
            "To drop them, add -x drop-app-tables=true. To keep them and remove the rest, downgrade to 0001_app_tables."
        )


# What nobody can get again, by the revision whose downgrade drops it.
RECORDS = {
    "0003_events": ("event", "events"),
    "0010_repair": ("repair_run", "repairs and undos"),
    "0013_history": ("audit_run", "recorded audits"),
}


def refuse_to_drop_records(connection: sa.Connection, dropped: Collection[str]) -> None:
    """Refuse a downgrade that would drop events, repairs or recorded audits; print how many when it may.

    Args:
        connection: of a database that is migrated.
        dropped: the revisions that are downgraded.

    Raises:
        UserError: there are some and `-x drop-records=true` is missing.
    """
    held = []
    for table, name in (RECORDS[revision] for revision in sorted(RECORDS.keys() & set(dropped))):
        if count := connection.scalar(sa.text(f"select count(*) from integrity.{table}")):
            held.append(f"{name} ({count:,})")
    if not held:
        return
    found = ", ".join(held)
    if not options().drop_records:
        raise UserError(
            f"The downgrade would drop what the layer has recorded: {found}. Copy it out if you need it, then add "
            "-x drop-records=true."
        )
    render.say(f"dropping what the layer has recorded: {found}")


def hand_over(revision: str | None = None) -> None:
    """Set owner and grants of the layer's objects: the last step of every migration that creates some.

    Args:
        revision: the migration's own, which leaves it to those that follow in the same run; None to leave it to nobody.
    """
    if revision in (None, context.config.attributes.get("last_revision", revision)):
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
            # A change of owner locks every table and view of the layer; other sessions may be reading them.
            connection.execute(f"set local lock_timeout = '{policy.timeout:g}s'".encode())
            # The triggers write the event log: lock it first, while no other lock is held.
            connection.execute("lock table integrity.event in access exclusive mode")
            return [line for (line,) in connection.execute(query.encode())]

    left = ddl.retrying(policy, "owner of the layer")(settle)
    # An upgrade calls this more than once: print the same lines only once.
    if left and left != context.config.attributes.get("left_to_dba"):
        context.config.attributes["left_to_dba"] = left
        ddl.say_statements("roles of the layer, left to a DBA (docs/roles.md):", left)
