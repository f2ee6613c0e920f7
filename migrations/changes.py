"""The steps of a revision that changes what a release has installed; tests/migrations/next_release/ has a whole one."""

from collections.abc import Iterable

import sqlalchemy as sa
from alembic import context

from checks import ddl
from checks.errors import UserError
from migrations.options import is_offline
from migrations.sql_objects import SQL_ROOT, driver, execute, install, installing, localize, made_by, remove, source
from migrations.steps import hand_over, lock_policy

# In the order in which an approval of the app writes them.
WRITTEN = ("applications_application", "quests_questparticipant", "quests_quest")

# Nobody changes a column of a view that others read. The layer's own readers are dropped and created again, so that the
# manifest has them in an order that works. Those of others are emptied and filled: they keep their owner, their grants,
# their comments and whatever reads them.
REPLACE_VIEW = """
do $replace$
declare
  statements text[];
  statement text;
begin
  with recursive reading (id, depth) as (
    select '{view}'::regclass::oid, 0
    union
    select rewrite.ev_class, reading.depth + 1
    from reading
    inner join pg_depend as dependency
      on
        dependency.refclassid = 'pg_class'::regclass
        and dependency.refobjid = reading.id
        and dependency.classid = 'pg_rewrite'::regclass
    inner join pg_rewrite as rewrite
      on rewrite.oid = dependency.objid and rewrite.ev_class <> reading.id
  ),

  reader as (
    select
      class.oid,
      class.oid::regclass::text as name,
      max(reading.depth) as depth,
      coalesce(' with (' || array_to_string(class.reloptions, ', ') || ')', '') as options,
      exists (
        select from integrity.guard where kind = 'view' and identity = class.oid::regclass::text
      ) as is_ours
    from reading
    inner join pg_class as class on class.oid = reading.id and class.relkind = 'v'
    where reading.depth > 0
    group by class.oid
  )

  select
    array_agg(
      case
        when reader.is_ours then format('drop view %s', reader.name)
        else
          format(
            'create or replace view %s%s as select %s',
            reader.name,
            reader.options,
            (
              select
                string_agg(
                  format(
                    'null::%s%s as %I',
                    format_type(attribute.atttypid, attribute.atttypmod),
                    ' collate ' || nullif(attribute.attcollation, 0)::regcollation::text,
                    attribute.attname
                  ),
                  ', ' order by attribute.attnum
                )
              from pg_attribute as attribute
              where attribute.attrelid = reader.oid and attribute.attnum > 0
            )
          )
      end
      order by reader.depth desc
    )
    || array[{replacing}]
    || array_agg(
      format(
        'create or replace view %s%s as %s', reader.name, reader.options, pg_get_viewdef(reader.oid)
      )
      order by reader.depth
    )
    || array_agg(
      format('comment on view %s is %L', reader.name, obj_description(reader.oid, 'pg_class'))
    ) filter (where reader.is_ours)
  into statements
  from reader;

  foreach statement in array statements loop
    execute statement;
  end loop;
end
$replace$"""

# What the manifest would take for right if it were written now. The rest is not in it.
DAMAGE = """
select format('%s %s (%s)', kind, identity, status), mend
from integrity.guard_status
where
  damage
  and status <> 'unfit'
  and kind not in ('setting', 'subscription', 'role', 'layer')
order by position
"""


def replace(name: str, old: int, new: int) -> None:
    """Put one version of a file of `sql/` in the place of another, in an upgrade or in a downgrade.

    What the old version creates and the new one does not is dropped. Whoever reads a view, a user's own views too,
    reads the new one afterwards; a column that they use must still be there. Triggers are left to `seal`.

    Args:
        name: as of `install`.
        old: the version that is installed.
        new: the version to install.
    """
    before, text = made_by(source(name, old)), installing(name, new)
    kept = made_by(text)
    drops = [f"drop {kind} if exists {identity}" for kind, identity in reversed(before) if (kind, identity) not in kept]
    kinds = {kind for kind, _ in before}
    if "view" in kinds:
        (view,) = (identity for kind, identity in before if kind == "view")
        _replace_view(view, text)
    elif "trigger" in kinds:
        _left_to_seal().append(";\n".join([*drops, text]))
    else:
        for statement in (*drops, text):
            execute(statement)


def _left_to_seal() -> list[str]:
    found: list[str] = context.config.attributes.setdefault("left_to_seal", [])
    return found


def _replace_view(view: str, text: str) -> None:
    # Seldom needed.
    import sqlparse

    replacing = [f"drop view {view}", *sqlparse.split(localize(text))]
    literals = ", ".join(f"$statement${statement}$statement$" for statement in replacing)
    block = REPLACE_VIEW.format(view=view, replacing=literals)
    if is_offline():
        execute(block)
        return

    def attempt() -> None:
        with driver().transaction():
            execute(block)

    ddl.retrying(lock_policy(), f"view {view}")(attempt)


def add_rule(rule: str, severity: str, category: str, meaning: str, broken_by: str) -> None:
    """Install `rules/<rule>/view`, and `rules/<rule>/repair` if there is one, and list the rule as the layer's own.

    Args:
        rule: its name.
        severity: error, warning or off.
        category: a heading, in the plural.
        meaning: what holds while nothing violates it.
        broken_by: what may violate it.
    """
    for part in _parts(rule):
        install(part, 1)
    arguments = ", ".join(map(_literal, (rule, severity, category, meaning)))
    execute(f"select integrity.add_rule({arguments})")
    execute(
        f"update integrity.rule set built_in = true, broken_by = {_literal(broken_by)} where rule = {_literal(rule)}"
    )


def remove_rule(rule: str) -> None:
    """Undo `add_rule`."""
    execute(f"delete from integrity.rule where rule = {_literal(rule)}")
    execute("select integrity.assemble_violations()")
    for part in reversed(_parts(rule)):
        remove(part, 1)


def _parts(rule: str) -> list[str]:
    parts = (f"rules/{rule}/view", f"rules/{rule}/repair")
    return [part for part in parts if (SQL_ROOT / f"{part}.v1.sql").exists()]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def seal() -> None:
    """Replace triggers, set owner and grants of the layer's objects, write the manifest anew: the last step, both ways.

    Until here a revision has locked no app table. What is locked now is asked for at once, and let go of between two
    attempts, so clients wait for at most lock-timeout, and then for the second that the rest takes.
    """
    triggers = context.config.attributes.pop("left_to_seal", [])

    def work() -> None:
        for text in triggers:
            execute(text)
        # Without its seal nobody looks after the manifest, which is written anew below: a third of the time locked.
        execute("delete from integrity.guard where kind = 'manifest'")
        hand_over()
        execute("select integrity.record_guards()")

    if is_offline() or not triggers:
        work()
        return
    # The triggers write the event log, so whoever waits for one of these has not locked the other.
    lock = f"{_lock(triggers)};\nlock table integrity.event in access exclusive mode"
    ddl.in_transaction(driver(), localize(lock), lock_policy(), work)


def _lock(triggers: Iterable[str]) -> str:
    """Return the statement that locks the tables of these triggers, in the order in which the app writes them."""
    text = "\n".join(triggers)
    tables = [f"public.{name}" for name in WRITTEN if f" on public.{name}" in text]
    mode = "access exclusive" if "drop trigger" in text else "share row exclusive"
    return f"lock table {', '.join(tables)} in {mode} mode"


def refuse_damage(connection: sa.Connection) -> None:
    """Refuse to write the manifest anew from a damaged layer: what is wrong would be what is expected.

    Raises:
        UserError: an object of the layer is not as the manifest says; the statements that repair it are printed.
    """
    found = connection.execute(sa.text(DAMAGE)).all()
    if not found:
        return
    ddl.say_statements("what repairs the layer:", [f"{mend};" for _, mend in found if mend])
    named = ", ".join(name for name, _ in found)
    raise UserError(
        f"the layer is not as its manifest says, and a migration would take that for right: {named}. Repair it first: "
        "run the statements above, or `quest-integrity guards --fix` of the version that migrated the database."
    )
