"""Every way in which the layer can be taken apart is noticed, named, and mended by the statement given for it."""

from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from tests.support.guards import mend_by_hand, statuses

_Connection = psycopg.Connection[Any]

APPLICATION, PARTICIPANT, QUEST = (
    "public.applications_application",
    "public.quests_questparticipant",
    "public.quests_quest",
)

# The part of an identity before its table, and the table.
NAME = "left(identity, -length(' on ' || (expected ->> 'table'))) as name, expected ->> 'table' as parent"
OURS = f"select kind, identity, expected, definition, {NAME} from integrity.guard where identity not like '%*'"


@dataclass(frozen=True)
class Drift:
    """Something done to the layer.

    Args:
        name: What it is, for the test's id.
        does: A statement, or a query for statements: one for each object of a kind.
        status: What each of the objects then is.
        subjects: The objects: what `does` queried for them yields beside the statement, or these.
    """

    name: str
    does: str
    status: str
    subjects: tuple[str, ...] = ()


def each(what: str, where: str) -> str:
    """Return a query for a statement, and the subject it is about, for each entry of the manifest."""
    return f"select {what}, kind || ' ' || identity from ({OURS}) as entry where {where}"


TRIGGERS = "kind = 'trigger' and not expected ? 'of the parent'"
CONSTRAINTS = "kind = 'constraint' and parent not like 'integrity.%'"
FOREIGN_KEYS = f"{CONSTRAINTS} and expected ->> 'rule' like 'foreign key%'"
FUNCTIONS = "kind in ('function', 'procedure')"
# What the guards read while the test looks cannot itself be away.
VIEWS = "kind = 'view'"

EVERYWHERE = (
    Drift(
        "triggers disabled",
        each("format('alter table %s disable trigger %s', parent, name)", TRIGGERS),
        "disabled",
    ),
    Drift(
        "triggers left to replicas",
        each("format('alter table %s enable replica trigger %s', parent, name)", TRIGGERS),
        "replica-only",
    ),
    Drift(
        "triggers always on",
        each(
            "format('alter table %s enable always trigger %s', parent, name)",
            f"{TRIGGERS} and expected ->> 'enabled' <> 'always'",
        ),
        "altered",
    ),
    Drift("triggers dropped", each("format('drop trigger %s on %s', name, parent)", TRIGGERS), "missing"),
    Drift(
        "triggers renamed",
        each("format('alter trigger %s on %s rename to z_%s', name, parent, name)", TRIGGERS),
        "missing",
    ),
    Drift(
        "triggers without their condition",
        each(
            "format('drop trigger %s on %s; ', name, parent)"
            " || regexp_replace(definition, ' WHEN .* EXECUTE ', ' EXECUTE ')",
            f"{TRIGGERS} and definition like '% WHEN %'",
        ),
        "altered",
    ),
    Drift(
        "triggers with a weaker condition",
        each(
            "format('drop trigger %s on %s; ', name, parent)"
            " || regexp_replace(definition, ' WHEN \\((.*)\\) EXECUTE ', ' WHEN ((\\1) and new.id <> 7) EXECUTE ')",
            f"{TRIGGERS} and definition like '% WHEN %' and definition !~ 'DELETE'",
        ),
        "altered",
    ),
    Drift(
        "triggers on one event less",
        each(
            "format('drop trigger %s on %s; ', name, parent)"
            " || regexp_replace(definition, '(BEFORE|AFTER) (\\w+) OR ', '\\1 ')",
            f"{TRIGGERS} and definition ~ '(BEFORE|AFTER) (\\w+) OR ' and parent not like 'integrity.%'",
        ),
        "altered",
    ),
    Drift(
        "triggers on one column",
        each(
            "format('drop trigger %s on %s; ', name, parent)"
            " || regexp_replace(definition, ' UPDATE (OF .+ )?ON ', ' UPDATE OF id ON ')",
            f"{TRIGGERS} and definition ~ ' UPDATE (OF .+ )?ON ' and parent not like 'integrity.%'",
        ),
        "altered",
    ),
    Drift(
        "triggers with another function",
        each(
            "format('drop trigger %s on %s; ', name, parent)"
            " || regexp_replace(definition, 'EXECUTE FUNCTION .*', 'EXECUTE FUNCTION integrity.lock_quest()')",
            f"{TRIGGERS} and definition not like '%lock_quest%' and parent not like 'integrity.%'",
        ),
        "altered",
    ),
    Drift(
        "triggers with another argument",
        each(
            "format('drop trigger %s on %s; ', name, parent)"
            " || regexp_replace(definition, '\\([^()]*\\)$', '(''else'')')",
            f"{TRIGGERS} and parent not like 'integrity.%'",
        ),
        "altered",
    ),
    Drift(
        "constraints dropped",
        each("format('alter table %s drop constraint if exists %s cascade', parent, name)", CONSTRAINTS),
        "missing",
    ),
    Drift(
        "constraints renamed",
        each("format('alter table %s rename constraint %s to other_%s', parent, name, name)", CONSTRAINTS),
        "missing",
    ),
    Drift(
        "constraints not validated",
        each(
            "format('alter table %s drop constraint %s; ', parent, name) || definition",
            f"{CONSTRAINTS} and definition like '% not valid'",
        ),
        "not validated",
    ),
    Drift(
        "foreign keys not deferrable",
        each("format('alter table %s alter constraint %s not deferrable', parent, name)", FOREIGN_KEYS),
        "altered",
    ),
    Drift(
        "foreign keys deferred only when asked",
        each("format('alter table %s alter constraint %s initially immediate', parent, name)", FOREIGN_KEYS),
        "altered",
    ),
    Drift(
        "foreign keys that match otherwise",
        each(
            "format('alter table %s drop constraint %s; ', parent, name)"
            " || replace(replace(definition, ' deferrable', ' match full deferrable'), 'not valid', '')",
            FOREIGN_KEYS,
        ),
        "altered",
    ),
    Drift(
        "foreign keys that cascade",
        each(
            "format('alter table %s drop constraint %s; ', parent, name)"
            " || replace(replace(definition, ' deferrable', ' on delete cascade deferrable'), 'not valid', '')",
            FOREIGN_KEYS,
        ),
        "altered",
    ),
    Drift(
        "checks with a way out",
        each(
            "format('alter table %s drop constraint %s; ', parent, name)"
            " || regexp_replace(definition, 'check \\((.*)\\) not valid', 'check ((\\1) or id = 7)')",
            f"{CONSTRAINTS} and definition like '%check (%'",
        ),
        "altered",
    ),
    Drift(
        "checks that children do not inherit",
        each(
            "format('alter table %s drop constraint %s; ', parent, name)"
            " || replace(definition, 'not valid', 'no inherit')",
            f"{CONSTRAINTS} and definition like '%check (%'",
        ),
        "altered",
    ),
    Drift(
        "comments removed",
        each(
            "format('comment on %s is null', case kind when 'partition' then 'table' else kind end || ' ' || identity)",
            "expected ? 'comment'",
        ),
        "altered",
    ),
    Drift(
        "functions without a pinned search_path",
        each("format('alter %s %s reset all', kind, identity)", f"{FUNCTIONS} and expected ? 'settings'"),
        "altered",
    ),
    Drift(
        "functions with another search_path",
        each(
            "format('alter %s %s set search_path = public, pg_temp', kind, identity)",
            f"{FUNCTIONS} and expected ? 'settings'",
        ),
        "altered",
    ),
    Drift(
        "functions with the other security",
        each(
            "format('alter %s %s security %s', kind, identity,"
            " case when (expected ->> 'security definer')::boolean then 'invoker' else 'definer' end)",
            FUNCTIONS,
        ),
        "altered",
    ),
    Drift(
        "functions with another volatility",
        each(
            "format('alter function %s %s', identity,"
            " case expected ->> 'volatility' when 'volatile' then 'stable' else 'volatile' end)",
            "kind = 'function'",
        ),
        "altered",
    ),
    Drift(
        "functions that ignore NULL",
        each("format('alter function %s strict', identity)", "kind = 'function'"),
        "altered",
    ),
    Drift(
        "functions with another body",
        each(
            "regexp_replace(definition, '(AS \\$(?:function|procedure)\\$)', E'\\\\1 -- nothing but a comment\\n')",
            FUNCTIONS,
        ),
        "altered",
    ),
    Drift(
        "functions renamed",
        each(
            "format('alter %s %s rename to %I', kind, identity, 'z' || row_number() over (order by identity))",
            f"{FUNCTIONS} and identity not like '%_event_partition%'",
        ),
        "missing",
    ),
    Drift(
        "views that hide rows",
        each("format('%s limit 0', definition)", f"{VIEWS} and definition like 'create %'"),
        "altered",
    ),
    Drift("views dropped", each("format('drop view if exists %s cascade', identity)", VIEWS), "missing"),
    Drift("views with options", each("format('alter view %s set (security_barrier)', identity)", VIEWS), "altered"),
    Drift(
        "everything granted to everybody",
        each(
            "format('grant all on %s %s to public',"
            " case when kind in ('view', 'partition') then 'table' else kind end, identity)",
            "expected ? 'grants' and kind <> 'column'",
        ),
        "wrong grants",
    ),
    Drift(
        "columns granted",
        each(
            "format('grant select (%s) on %s to public', substr(identity, length(parent) + 2), parent)",
            "kind = 'column' and parent like 'integrity.%'",
        ),
        "wrong grants",
    ),
    Drift(
        "nothing left to the owner",
        each(
            "format('revoke all on %s %s from postgres',"
            " case when kind in ('view', 'partition') then 'table' else kind end, identity)",
            "expected ? 'grants' and kind <> 'column'",
        ),
        "wrong grants",
    ),
    Drift(
        "given away",
        each(
            "format('alter %s %s owner to pg_monitor',"
            " case kind when 'partition' then 'table' else kind end, identity)",
            "expected ? 'owner' and kind <> 'sequence'",
        ),
        "wrong owner",
    ),
    Drift(
        "indexes dropped",
        each("format('drop index %s', identity)", "kind = 'index'"),
        "missing",
    ),
    Drift(
        "columns with a default",
        each(
            "format('alter table %s alter column %s set default true', parent, substr(identity, length(parent) + 2))",
            "kind = 'column' and parent not like 'integrity.%'",
        ),
        "altered",
    ),
    Drift(
        "columns dropped",
        each(
            "format('alter table %s drop column %s cascade', parent, substr(identity, length(parent) + 2))",
            "kind = 'column' and parent not like 'integrity.%'",
        ),
        "missing",
    ),
    Drift("rules deleted", each("'delete from ' || identity", "kind = 'row' and identity like '%rule%'"), "missing"),
    Drift("law deleted", each("'delete from ' || identity", "kind = 'row' and identity like '%law%'"), "missing"),
)


@pytest.mark.parametrize("drift", EVERYWHERE, ids=lambda drift: drift.name)
def test_done_to_each_object_it_is_noticed_and_mended(drift: Drift, migrated: _Connection) -> None:
    statements = migrated.execute(drift.does).fetchall()
    assert statements
    migrated.execute("set client_min_messages = error")
    for statement, _ in statements:
        migrated.execute(statement)
    found = statuses(migrated)
    assert {subject: found.get(subject) for _, subject in statements} == {
        subject: drift.status for _, subject in statements
    }
    mend_by_hand(migrated)
    assert statuses(migrated) == {}


def test_all_is_well(migrated: _Connection) -> None:
    assert statuses(migrated) == {}
