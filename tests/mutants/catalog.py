"""Every mutant of the layer, generated from the catalog of a migrated database: nothing is listed by hand.

A mutant is SQL that takes one thing away from one object: the object, a column, an event, a condition, a statement, a
setting, a right. Its SQL can be run again, and on a database where the object differs only by its rows.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from tests.mutants import text

_Connection = psycopg.Connection[Any]

APP_TABLES = "('applications_application', 'quests_quest', 'quests_questparticipant')"
# Months come and go: the first stands for all of them, under this name.
MONTH = re.compile(r"\bevent_\d{4}_\d{2}\b")

CONSTRAINTS = f"""
select
  quote_ident(conname),
  conrelid::regclass::text,
  contype::text,
  pg_get_constraintdef(pg_constraint.oid),
  array(
    select quote_ident(attname)
    from unnest(conkey) with ordinality as key (number, position)
    inner join pg_attribute on attrelid = conrelid and attnum = key.number
    order by key.position
  ),
  (
    select quote_ident(attname)
    from pg_attribute
    where attrelid = conrelid and attnum > 0 and not attisdropped and attnum <> all(conkey)
    order by attnum
    limit 1
  )
from pg_constraint
inner join pg_class on pg_class.oid = conrelid
where
  contype in ('c', 'f', 'p', 'u')
  and not relispartition
  and (
    relnamespace = 'integrity'::regnamespace
    or (relname in {APP_TABLES} and conname like 'integrity\\_%')
  )
order by 2, 1
"""
TRIGGERS = f"""
select quote_ident(tgname), tgrelid::regclass::text, pg_get_triggerdef(pg_trigger.oid), tgparentid <> 0
from pg_trigger
inner join pg_class on pg_class.oid = tgrelid
where
  -- A partition's copy of a trigger is internal to PostgreSQL 14.
  (not tgisinternal or (tgparentid <> 0 and tgconstraint = 0))
  and (
    relnamespace = 'integrity'::regnamespace
    or (relname in {APP_TABLES} and tgfoid in (select oid from pg_proc where pronamespace = 'integrity'::regnamespace))
  )
order by 2, 1
"""
FUNCTIONS = """
select
  replace(oid::regprocedure::text, ',', ', '),
  case prokind when 'p' then 'procedure' else 'function' end,
  prolang = (select oid from pg_language where lanname = 'plpgsql'),
  case
    when prokind = 'p' then 'begin null; end'
    when prorettype = 'trigger'::regtype then 'begin if tg_op = ''DELETE'' then return old; end if; return new; end'
    when proretset or prorettype = 'void'::regtype then 'begin return; end'
    else 'begin return null; end'
  end,
  prosecdef,
  coalesce(array(select split_part(setting, '=', 1) from unnest(proconfig) as setting), '{}'),
  prosrc,
  pg_get_functiondef(oid)
from pg_proc
where pronamespace = 'integrity'::regnamespace
order by 1
"""
VIEWS = """
select pg_class.oid::regclass::text, pg_get_viewdef(pg_class.oid), rule.rule is not null
from pg_class
left join integrity.rule on rule.rule = relname
where relnamespace = 'integrity'::regnamespace and relkind = 'v'
order by 1
"""
# What is written down; where nothing is, only the owner may, and there is nothing to revoke.
GRANTS = f"""
with object (kind, name, acl, owner, shown) as (
  select 'schema', quote_ident(nspname), nspacl, nspowner, 'usage'
  from pg_namespace
  where nspname = 'integrity'
  union all
  select
    case relkind when 'S' then 'sequence' else 'table' end,
    oid::regclass::text,
    relacl,
    relowner,
    case relkind when 'S' then 'usage' when 'v' then 'select' else 'select, insert, update, delete' end
  from pg_class
  where relnamespace = 'integrity'::regnamespace and relkind in ('r', 'p', 'v', 'S')
  union all
  select
    case prokind when 'p' then 'procedure' else 'function' end,
    replace(oid::regprocedure::text, ',', ', '),
    proacl,
    proowner,
    'execute'
  from pg_proc
  where pronamespace = 'integrity'::regnamespace
  union all
  select 'table', attrelid::regclass::text || ' ' || quote_ident(attname), attacl, relowner, null
  from pg_attribute
  inner join pg_class on pg_class.oid = attrelid
  where relnamespace = 'integrity'::regnamespace or relname in {APP_TABLES} or relname = 'users_user'
)

select kind, name, shown, pg_get_userbyid(owner), array(
  select distinct array[case grantee when 0 then 'public' else pg_get_userbyid(grantee) end, lower(privilege_type)]
  from aclexplode(acl)
  where grantee <> owner and (grantee = 0 or pg_get_userbyid(grantee) like 'integrity\\_%')
)
from object
where acl is not null or shown is not null
order by 1, 2
"""
COLUMNS = """
select attrelid::regclass::text, quote_ident(attname), atthasdef, attidentity <> ''
from pg_attribute
inner join pg_class on pg_class.oid = attrelid and relkind in ('r', 'p') and not relispartition
where
  relnamespace = 'integrity'::regnamespace
  and attnum > 0
  and not attisdropped
  and (atthasdef or attidentity <> '')
order by 1, attnum
"""
TRIGGER = re.compile(
    r"CREATE TRIGGER \S+ (?P<time>BEFORE|AFTER) (?P<events>.+) ON (?P<table>\S+) "
    r"FOR EACH (?P<each>ROW|STATEMENT) (?:WHEN \((?P<when>.*)\) )?EXECUTE FUNCTION (?P<call>.*)"
)


@dataclass(frozen=True)
class Mutant:
    """One mutant.

    Args:
        kind: Of its object: constraint, trigger, function, view, grant, column.
        subject: Its object, as the guards call it.
        what: What is done to it.
        sql: The statements.
    """

    kind: str
    subject: str
    what: str
    sql: str

    @property
    def name(self) -> str:
        """Its name, which stays the same while its object and what is taken from it do."""
        return f"{self.kind} {self.subject}: {self.what}"


def mutants(connection: _Connection) -> list[Mutant]:
    """Return every mutant of a migrated database, each under a name of its own."""
    with connection.transaction(force_rollback=True):
        # With nothing else on it, every name is written with its schema.
        connection.execute("set local search_path = pg_catalog; set local quote_all_identifiers = off")
        found = [
            *_constraints(connection),
            *_triggers(connection),
            *_functions(connection),
            *_views(connection),
            *_columns(connection),
            *_grants(connection),
        ]
    return list(_named(_one_month(found)))


def objects(connection: _Connection) -> set[tuple[str, str]]:
    """Return every object that has mutants, as kind and name."""
    return {(mutant.kind, mutant.subject) for mutant in mutants(connection)}


def _one_month(found: list[Mutant]) -> Iterator[Mutant]:
    months = sorted({month for mutant in found for month in MONTH.findall(mutant.subject)})
    for mutant in found:
        if (month := MONTH.search(mutant.subject)) is None:
            yield mutant
        elif month[0] == months[0]:
            yield replace(mutant, subject=MONTH.sub("event_*", mutant.subject))


def _named(found: Iterator[Mutant]) -> Iterator[Mutant]:
    seen: Counter[str] = Counter()
    for mutant in found:
        seen[mutant.name] += 1
        number = seen[mutant.name]
        yield mutant if number == 1 else replace(mutant, what=f"{mutant.what} ({number})")


def _constraints(connection: _Connection) -> Iterator[Mutant]:
    for name, table, kind, definition, columns, another in connection.execute(CONSTRAINTS).fetchall():
        drop = f"alter table {table} drop constraint if exists {name} cascade"
        yield Mutant("constraint", f"{name} on {table}", "dropped", drop)
        for what, weaker in _weaker(kind, definition, columns, another):
            added = f"{drop}; alter table {table} add constraint {name} {weaker}"
            yield Mutant("constraint", f"{name} on {table}", what, added)


def _weaker(kind: str, definition: str, columns: list[str], another: str | None) -> Iterator[tuple[str, str]]:
    if kind in "cf":
        yield "not valid", f"{definition} not valid"
    if kind == "c":
        yield "always true", "check (true)"
        for edit in (*text.conditions(definition), *text.list_items(definition)):
            yield edit.what, edit.text
    elif kind == "f":
        yield from _weaker_foreign_key(definition)
    else:
        yield from _weaker_key(definition, columns, another)


def _weaker_foreign_key(definition: str) -> Iterator[tuple[str, str]]:
    deferred = " DEFERRABLE INITIALLY DEFERRED"
    if deferred in definition:
        yield "not deferrable", definition.replace(deferred, "")
        yield "initially immediate", definition.replace(deferred, " DEFERRABLE")
        yield "on delete cascade", definition.replace(deferred, f" ON DELETE CASCADE{deferred}")
    if (action := re.search(r" ON (?:DELETE|UPDATE) (?:CASCADE|SET NULL)", definition)) is not None:
        yield f"without `{action[0].strip().lower()}`", definition.replace(action[0], "")
    ours, theirs = (part.split(", ") for part in re.findall(r"\(([^)]*)\)", definition)[:2])
    for one, other in zip(ours, theirs, strict=True) if len(ours) > 1 else ():
        fewer = definition
        for columns, column in ((ours, one), (theirs, other)):
            fewer = fewer.replace(
                f"({', '.join(columns)})", f"({', '.join(each for each in columns if each != column)})"
            )
        yield f"without the column `{one}`", fewer


def _weaker_key(definition: str, columns: list[str], another: str | None) -> Iterator[tuple[str, str]]:
    yield "deferrable", f"{definition} deferrable initially deferred"
    if another is not None:
        yield "with one more column", definition.replace(columns[-1] + ")", f"{columns[-1]}, {another})")
    for column in columns if len(columns) > 1 else ():
        fewer = ", ".join(each for each in columns if each != column)
        yield f"without the column `{column}`", definition.replace(f"({', '.join(columns)})", f"({fewer})")


def _triggers(connection: _Connection) -> Iterator[Mutant]:
    for name, table, definition, inherited in connection.execute(TRIGGERS).fetchall():
        subject = f"{name} on {table}"
        yield Mutant("trigger", subject, "disabled", f"alter table {table} disable trigger {name}")
        if inherited:
            continue
        yield Mutant("trigger", subject, "replica-only", f"alter table {table} enable replica trigger {name}")
        drop = f"drop trigger if exists {name} on {table}"
        yield Mutant("trigger", subject, "dropped", drop)
        for what, other in _other_triggers(definition):
            yield Mutant("trigger", subject, what, f"{drop}; {other}")


def _other_triggers(definition: str) -> Iterator[tuple[str, str]]:
    parts = TRIGGER.fullmatch(definition)
    assert parts is not None, definition
    events = parts["events"].split(" OR ")
    for event in events if len(events) > 1 else ():
        fewer = " OR ".join(each for each in events if each != event)
        yield f"without `{event.split()[0].lower()}`", definition.replace(parts["events"], fewer, 1)
    if (update := re.search(r"UPDATE OF ([^()]+?)(?= OR | ON )", definition)) is not None:
        columns = update[1].split(", ")
        for column in columns if len(columns) > 1 else ():
            fewer = ", ".join(each for each in columns if each != column)
            yield f"without `update of {column}`", definition.replace(update[1], fewer, 1)
    if parts["when"] is not None:
        condition = f"WHEN ({parts['when']})"
        yield "without its condition", definition.replace(f"{condition} ", "")
        for edit in text.conditions(condition):
            yield edit.what, definition.replace(condition, edit.text)
    if parts["each"] == "ROW":
        other = {"BEFORE": "AFTER", "AFTER": "BEFORE"}[parts["time"]]
        yield f"{other.lower()} instead of {parts['time'].lower()}", definition.replace(parts["time"], other, 1)


def _functions(connection: _Connection) -> Iterator[Mutant]:
    for name, kind, procedural, empty, definer, settings, body, definition in connection.execute(FUNCTIONS).fetchall():
        for setting in settings:
            yield Mutant(kind, name, f"without its `{setting}`", f"alter {kind} {name} reset {setting}")
        other = "invoker" if definer else "definer"
        yield Mutant(kind, name, f"security {other}", f"alter {kind} {name} security {other}")
        head, _, _ = definition.partition("\nAS $")
        emptied = re.sub(r"\bLANGUAGE \w+", "LANGUAGE plpgsql", head, count=1)
        yield Mutant(kind, name, "emptied", f"{emptied}\nAS $empty$ {empty} $empty$")
        edits = [*text.conditions(body), *text.list_items(body), *text.locks(body)]
        for edit in (*(text.statements(body) if procedural else ()), *edits):
            yield Mutant(kind, name, edit.what, definition.replace(body, edit.text, 1))


def _views(connection: _Connection) -> Iterator[Mutant]:
    for name, definition, is_rule in connection.execute(VIEWS).fetchall():
        query = definition.strip().removesuffix(";")
        yield Mutant("view", name, "dropped", f"drop view if exists {name} cascade")
        edits = [text.Edit("that finds nothing", f"select * from ({query}) as one where false")]
        edits += text.branches(query)
        if not name.startswith("integrity.guard_"):
            edits += text.conditions(query)
        if is_rule:
            edits += text.list_items(query)
        for edit in edits:
            yield Mutant("view", name, edit.what, f"create or replace view {name} as {edit.text}")


def _columns(connection: _Connection) -> Iterator[Mutant]:
    for table, column, has_default, has_identity in connection.execute(COLUMNS).fetchall():
        for what, there in (("default", has_default), ("identity", has_identity)):
            if there:
                sql = f"alter table {table} alter column {column} drop {what}"
                yield Mutant("column", f"{table}.{column}", f"without its {what}", sql)


def _grants(connection: _Connection) -> Iterator[Mutant]:
    for kind, name, shown, owner, granted in connection.execute(GRANTS).fetchall():
        table, _, column = name.partition(" ") if shown is None else (name, "", "")
        subject = f"{kind} {table}.{column}" if column else f"{kind} {name}"
        columns = f" ({column})" if column else ""
        for grantee, privilege in sorted(granted):
            revoke = f"revoke {privilege}{columns} on {kind} {table} from {grantee}"
            yield Mutant("grant", subject, f"{privilege} revoked from {grantee}", revoke)
        if shown is not None:
            yield Mutant("grant", subject, f"all revoked from {owner}", f"revoke all on {kind} {table} from {owner}")
        if shown is not None and ["public", shown] not in granted:
            yield Mutant("grant", subject, f"{shown} granted to public", f"grant {shown} on {kind} {table} to public")
