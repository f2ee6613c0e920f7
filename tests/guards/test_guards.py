"""Every way in which the layer can be taken apart is noticed, named, and mended by the statement given for it."""

import csv
import io
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree

import psycopg
import pytest
from jsonschema import Draft202012Validator
from pytest_postgresql.executors import NoopExecutor

from checks import guards, migrate
from checks.ddl import LockPolicy
from tests.guards.conftest import UNHINDERED
from tests.support import cli, factory, plant, proof
from tests.support.database import another, copied, target_of, url_of
from tests.support.guards import mend_by_hand, mended, named, statuses, statuses_in_psql, wrong
from tests.support.programs import program, psql

_Connection = psycopg.Connection[Any]
COLUMNS = [field.name for field in fields(guards.Guard)]

APPLICATION, PARTICIPANT, QUEST = (
    "public.applications_application",
    "public.quests_questparticipant",
    "public.quests_quest",
)

RIGHTS = "select substr(identity, 7) from integrity.guard where kind = 'rights'"
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
            # Not what everybody may execute as it is.
            "expected ? 'grants' and kind not in ('column', 'rights') and expected ->> 'grants' not like '%to public%'",
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
            "format('revoke all on %s %s from %I',"
            " case when kind in ('view', 'partition') then 'table' else kind end, identity, expected ->> 'owner')",
            "expected ? 'grants' and kind not in ('column', 'rights')",
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


# Mended by what PostgreSQL runs in no transaction block: an index built concurrently, a procedure that commits.
COMMITTED = {
    "constraints dropped",
    "constraints renamed",
    "columns dropped",
    "a key on one column less",
    "a key that is deferred",
    "a key in another order",
    "a key with an invalid index",
    "a key that is not unique",
    "a key half built",
    "a backfill to be done again",
    "a marker of another type",
}


@pytest.fixture
def broken(request: pytest.FixtureRequest) -> _Connection:
    """A migrated database to do damage to: `guarded`, or one of the test's own in autocommit mode."""
    if request.node.callspec.id not in COMMITTED:
        return cast("_Connection", request.getfixturevalue("guarded"))
    migrated: _Connection = request.getfixturevalue("migrated")
    migrated.autocommit = True
    migrated.execute(UNHINDERED)
    return migrated


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch, migrated_server: NoopExecutor) -> Iterator[None]:
    """Let `guards.differences` compare with a copy of what is migrated already, not start a server to migrate on."""
    with copied(migrated_server, "reference") as connection:
        running = SimpleNamespace(url=url_of(connection))
        monkeypatch.setattr(guards.server, "throwaway", lambda: nullcontext(running))
        yield


@pytest.mark.parametrize("drift", EVERYWHERE, ids=lambda drift: drift.name)
def test_done_to_each_object_it_is_noticed_and_mended(drift: Drift, broken: _Connection) -> None:
    statements = broken.execute(drift.does).fetchall()
    assert statements
    for statement, _ in statements:
        broken.execute(statement)
    damage = wrong(broken)
    found = named(damage)
    assert {subject: found.get(subject) for _, subject in statements} == {
        subject: drift.status for _, subject in statements
    }
    assert mended(broken, damage) == []


def test_all_is_well(guarded: _Connection) -> None:
    assert statuses(guarded) == {}


# By name: what is done, and the status of what that concerns.
ONCE: dict[str, tuple[str, dict[str, str]]] = {
    "a foreign key switched off": (
        f"alter table {APPLICATION} disable trigger all",
        {
            f"constraint integrity_approved_application_has_participant on {APPLICATION}": "disabled",
            f"trigger integrity_mark on {APPLICATION}": "disabled",
            f"trigger integrity_approved_on_insert on {APPLICATION}": "disabled",
            f"trigger integrity_approved_on_update on {APPLICATION}": "disabled",
            f"trigger integrity_ended_on_update on {APPLICATION}": "disabled",
            f"trigger integrity_ended_on_delete on {APPLICATION}": "disabled",
            f"trigger integrity_truncate_by_name on {APPLICATION}": "disabled",
        },
    ),
    "a foreign key switched off on its other side": (
        "update pg_trigger set tgenabled = 'D' where tgfoid = 'pg_catalog.\"RI_FKey_noaction_del\"'::regproc"
        " and tgconstraint in"
        " (select oid from pg_constraint where conname = 'integrity_participant_has_assigned_quest')",
        {f"constraint integrity_participant_has_assigned_quest on {PARTICIPANT}": "disabled"},
    ),
    "a foreign key for replicas only": (
        "update pg_trigger set tgenabled = 'R' where tgconstraint in"
        " (select oid from pg_constraint where conname = 'integrity_participant_has_assigned_quest')",
        {f"constraint integrity_participant_has_assigned_quest on {PARTICIPANT}": "replica-only"},
    ),
    "a check said not to be validated": (
        "update pg_constraint set convalidated = false where conname = 'integrity_quest_marker'",
        {f"constraint integrity_quest_marker on {QUEST}": "not validated"},
    ),
    "a key on one column less": (
        f"alter table {APPLICATION} drop constraint integrity_approved_application_key,"
        " add constraint integrity_approved_application_key unique (quest_id, integrity_approved)",
        {f"constraint integrity_approved_application_key on {APPLICATION}": "altered"},
    ),
    "a key that is deferred": (
        f"alter table {APPLICATION} drop constraint integrity_approved_application_key,"
        " add constraint integrity_approved_application_key unique (quest_id, applicant_id, integrity_approved)"
        " deferrable initially deferred",
        {f"constraint integrity_approved_application_key on {APPLICATION}": "altered"},
    ),
    "a key in another order": (
        f"alter table {APPLICATION} drop constraint integrity_approved_application_key,"
        " add constraint integrity_approved_application_key unique (applicant_id, quest_id, integrity_approved)",
        {f"constraint integrity_approved_application_key on {APPLICATION}": "altered"},
    ),
    "a key with an invalid index": (
        "update pg_index set indisvalid = false"
        " where indexrelid = 'public.integrity_approved_application_key'::regclass",
        {f"constraint integrity_approved_application_key on {APPLICATION}": "invalid"},
    ),
    "a key that is not unique": (
        "update pg_index set indisunique = false where indexrelid = 'public.integrity_quest_key'::regclass",
        {f"constraint integrity_quest_key on {QUEST}": "altered"},
    ),
    "a key half built": (
        f"alter table {APPLICATION} drop constraint integrity_approved_application_key;"
        f" create unique index integrity_approved_application_key on {APPLICATION}"
        " (quest_id, applicant_id, integrity_approved);"
        " update pg_index set indisvalid = false"
        " where indexrelid = 'public.integrity_approved_application_key'::regclass",
        {f"constraint integrity_approved_application_key on {APPLICATION}": "missing"},
    ),
    "a key built and not attached": (
        f"alter table {APPLICATION} drop constraint integrity_approved_application_key;"
        f" create unique index integrity_approved_application_key on {APPLICATION}"
        " (quest_id, applicant_id, integrity_approved)",
        {f"constraint integrity_approved_application_key on {APPLICATION}": "missing"},
    ),
    "the app's key that keeps participants apart": (
        f"alter table {PARTICIPANT} drop constraint quests_questparticipant_quest_id_user_id_key",
        {f"key (quest_id, user_id) of {PARTICIPANT}": "missing"},
    ),
    "an index that is invalid": (
        "update pg_index set indisvalid = false where indexrelid = 'integrity.event_quest_id_at_idx'::regclass",
        {"index integrity.event_quest_id_at_idx": "invalid"},
    ),
    "an index with a condition": (
        "drop index integrity.event_quest_id_at_idx;"
        " create index event_quest_id_at_idx on integrity.event (quest_id, at) where quest_id > 7",
        {"index integrity.event_quest_id_at_idx": "altered"},
    ),
    "a trigger of the log on one of its months": (
        "alter table integrity.event_default disable trigger integrity_append_only_truncate",
        {"trigger integrity_append_only_truncate on integrity.event_default": "disabled"},
    ),
    "the log's default partition": (
        "drop table integrity.event_default",
        {
            "partition integrity.event_default": "missing",
        },
    ),
    "a rule view that finds less": (
        "do $$ begin execute 'create or replace view integrity.duplicate_pending as '"
        " || replace(pg_get_viewdef('integrity.duplicate_pending'), '''pending''', '''x'''); end $$",
        {"view integrity.duplicate_pending": "altered"},
    ),
    "a rule view with one more column": (
        "do $$ begin execute 'create or replace view integrity.duplicate_pending as '"
        " || replace(pg_get_viewdef('integrity.duplicate_pending'), ' AS key', ' AS key, 7 AS seven'); end $$",
        {"view integrity.duplicate_pending": "altered"},
    ),
    "a rule view of another table of that name": (
        "create schema other; create table other.quests_quest (like public.quests_quest);"
        " do $$ begin execute 'create or replace view integrity.in_progress_without_participant as '"
        " || replace(pg_get_viewdef('integrity.in_progress_without_participant'),"
        " 'quests_quest quest', 'other.quests_quest quest'); end $$;"
        " set search_path = other, public",
        {"view integrity.in_progress_without_participant": "altered"},
    ),
    "a check with somebody else's operator": (
        "create schema other; create function other.yes(text, text) returns boolean language sql immutable"
        " as 'select true';"
        " create operator other.= (leftarg = text, rightarg = text, function = other.yes);"
        " set search_path = other, pg_catalog;"
        f" alter table {APPLICATION} drop constraint integrity_application_marker,"
        " add constraint integrity_application_marker"
        " check (case when status = 'approved' then integrity_approved is true else integrity_approved is null end)",
        {f"constraint integrity_application_marker on {APPLICATION}": "altered"},
    ),
    "the union without one rule": (
        "do $$ begin execute 'create or replace view integrity.violations as '"
        " || regexp_replace(pg_get_viewdef('integrity.violations'), 'UNION ALL\\s.*', ''); end $$",
        {"view integrity.violations": "altered"},
    ),
    "a severity softened in the union": (
        "do $$ begin execute 'create or replace view integrity.violations as '"
        " || regexp_replace(pg_get_viewdef('integrity.violations'), '''error''', '''warning'''); end $$",
        {"view integrity.violations": "altered"},
    ),
    "the union with half of one rule": (
        "do $$ begin execute 'create or replace view integrity.violations as '"
        " || replace(pg_get_viewdef('integrity.violations'), 'FROM integrity.unknown_status',"
        " 'FROM integrity.unknown_status WHERE quest_id > 7'); end $$",
        {"view integrity.violations": "altered"},
    ),
    "a rule that only warns": (
        "update integrity.rule set severity = 'warning' where rule = 'duplicate_approval'",
        {"row integrity.rule where rule = 'duplicate_approval'": "altered"},
    ),
    "a rule unlisted": (
        "delete from integrity.rule where rule = 'duplicate_approval'; select integrity.assemble_violations()",
        {"row integrity.rule where rule = 'duplicate_approval'": "missing"},
    ),
    "a law softened": (
        "update integrity.law set definition = 'check (true)' where name = 'integrity_quest_marker'",
        {"row integrity.law where name = 'integrity_quest_marker'": "altered"},
    ),
    "a law added": (
        "insert into integrity.law (name, relation, kind, definition, rules, chosen)"
        " values ('other', 'quests_quest', 'check', 'check (true)', '{}', true)",
        {"row integrity.law where name = 'other'": "unexpected object"},
    ),
    "another schema installed": (
        "update integrity.installation set created_tables = '{}'",
        {"row integrity.installation where singleton": "altered"},
    ),
    "a backfill to be done again": (
        "update integrity.backfill set finished_at = null where relation = 'quests_quest'",
        {"backfill quests_quest": "altered"},
    ),
    "a marker of another type": (
        "set session_replication_role = replica;"
        f" drop trigger integrity_mark on {QUEST};"
        f" alter table {QUEST} drop constraint integrity_quest_marker,"
        " drop constraint integrity_assignee_is_participant,"
        " drop constraint integrity_quest_key cascade,"
        " alter column integrity_assigned type text; set session_replication_role = origin",
        {f"column {QUEST}.integrity_assigned": "altered"},
    ),
    "a marker that must not be null": (
        f"alter table {QUEST} alter column integrity_assigned set not null",
        {f"column {QUEST}.integrity_assigned": "altered"},
    ),
    "a column of ours that is numbered otherwise": (
        "alter table integrity.law alter column position set generated by default",
        {'column integrity.law."position"': "altered"},
    ),
    "a column of ours that is not numbered": (
        "alter table integrity.law alter column position drop identity",
        {
            'column integrity.law."position"': "altered",
            "sequence integrity.law_position_seq": "missing",
        },
    ),
    "a column of ours that may be null": (
        "alter table integrity.law alter column rules drop not null",
        {"column integrity.law.rules": "altered"},
    ),
    "a column of ours with another default": (
        "alter table integrity.event alter column at set default 'epoch'",
        {"column integrity.event.at": "altered"},
    ),
    "a column of ours without its default": (
        "alter table integrity.event alter column transaction drop default",
        {"column integrity.event.transaction": "altered"},
    ),
    "a table that is not logged": (
        "alter table integrity.backfill set unlogged",
        {"table integrity.backfill": "altered"},
    ),
    "rows hidden from readers": (
        "alter table integrity.rule enable row level security",
        {"table integrity.rule": "altered"},
    ),
    "a sequence that cycles": (
        "alter sequence integrity.repair_run_id_seq cycle",
        {"sequence integrity.repair_run_id_seq": "altered"},
    ),
    "a function that returns something else": (
        "drop function integrity.settle_guards(); create function integrity.settle_guards() returns bigint"
        " language sql as 'select 7::bigint'",
        {"function integrity.settle_guards()": "altered"},
    ),
    "a function beside one of ours": (
        "create function integrity.derived_status(text, text) returns text language sql as 'select $1'",
        {"function integrity.derived_status(text, text)": "unexpected object"},
    ),
    "a trigger of another function on a table of ours": (
        "create function public.swallow() returns trigger language plpgsql as 'begin return null; end';"
        " create trigger swallow before insert on integrity.event for each row execute function public.swallow()",
        {"trigger swallow on integrity.event": "unexpected object"},
    ),
    "a trigger on the app's table by our name": (
        "create function public.pass() returns trigger language plpgsql as 'begin return new; end';"
        f" create trigger integrity_a before update on {QUEST} for each row execute function public.pass()",
        {f"trigger integrity_a on {QUEST}": "unexpected object"},
    ),
    "a trigger on the app's table with our function": (
        f"create trigger a before delete on {PARTICIPANT} for each row"
        " execute function integrity.on_participant_ended()",
        {f"trigger a on {PARTICIPANT}": "unexpected object"},
    ),
    "a rule that swallows events": (
        "create rule swallow as on insert to integrity.event do instead nothing",
        {"rule swallow on integrity.event": "unexpected object"},
    ),
    "a policy": (
        "create policy one on integrity.rule using (severity = 'warning')",
        {"policy one on integrity.rule": "unexpected object"},
    ),
    "a check by our name": (
        f"alter table {QUEST} add constraint integrity_other check (id > 0)",
        {f"constraint integrity_other on {QUEST}": "unexpected object"},
    ),
    "a check on a table of ours": (
        "alter table integrity.event add constraint other check (quest_id > 0)",
        {"constraint other on integrity.event": "unexpected object"},
    ),
    "an index by our name": (
        f"create index integrity_other on {QUEST} (title)",
        {"index public.integrity_other": "unexpected object"},
    ),
    "a role that writes as a replica here": (
        "do $$ begin execute format("
        "'alter role integrity_reader in database %I set session_replication_role = replica',"
        " current_database()); end $$",
        {"setting session_replication_role of role integrity_reader in database {database}": "bypass"},
    ),
    "a database written as a replica": (
        "do $$ begin execute format("
        "'alter database %I set session_replication_role = replica', current_database()); end $$",
        {"setting session_replication_role of database {database}": "bypass"},
    ),
}


@pytest.mark.parametrize("name", ONCE)
def test_done_once_it_is_noticed_and_mended(name: str, broken: _Connection) -> None:
    statement, expected = ONCE[name]
    broken.execute(statement)
    damage = wrong(broken)
    found = named(damage)
    wanted = {subject.replace("{database}", broken.info.dbname): status for subject, status in expected.items()}
    assert {subject: found.get(subject) for subject in wanted} == wanted
    if not name.startswith("a marker of another type"):
        # Nothing else is accused.
        assert found == wanted
    broken.execute("reset search_path")
    assert mended(broken, damage) == []


# Rows, or somebody's work, would be lost: no statement is offered.
FOR_A_PERSON: dict[str, tuple[str, dict[str, str]]] = {
    "a table in our schema": (
        "create table integrity.notes (id integer primary key, text text)",
        {"table integrity.notes": "unexpected object"},
    ),
    "a view in our schema that is no rule": (
        "create view integrity.mine as select 1 as one",
        {"view integrity.mine": "unexpected object"},
    ),
    "a materialized view": (
        "create materialized view integrity.mine as select 1 as one",
        {"materialized view integrity.mine": "unexpected object"},
    ),
    "a sequence": ("create sequence integrity.mine", {"sequence integrity.mine": "unexpected object"}),
    "a type": ("create type integrity.mine as enum ('a')", {"type integrity.mine": "unexpected object"}),
    "an operator": (
        "create operator integrity.=== (leftarg = text, rightarg = text, function = texteq)",
        {"operator integrity.===(pg_catalog.text,pg_catalog.text)": "unexpected object"},
    ),
    "a column of a table of ours": (
        "alter table integrity.law add column mine text",
        {"column integrity.law.mine": "unexpected object"},
    ),
    "a column by our name": (
        f"alter table {QUEST} add column integrity_mine text",
        {f"column {QUEST}.integrity_mine": "unexpected object"},
    ),
    "a month of the log that was detached": (
        "do $$ begin execute format('alter table integrity.event detach partition integrity.%I',"
        " to_char(now() + interval '3 months', '\"event_\"YYYY_MM')); end $$",
        {},
    ),
    "rights given in advance": (
        "alter default privileges in schema integrity grant select on tables to public",
        {"default acl for role postgres in schema integrity on tables": "unexpected object"},
    ),
    "a child of an app table": (
        f"create table public.elsewhere () inherits ({PARTICIPANT})",
        {f"table {PARTICIPANT}": "altered"},
    ),
    "rows hidden from the layer": (
        f"alter table {QUEST} enable row level security",
        {f"table {QUEST}": "altered"},
    ),
    "an app table whose triggers PostgreSQL was told to forget": (
        f"update pg_class set relhastriggers = false where oid = '{QUEST}'::regclass",
        {f"table {QUEST}": "altered"},
    ),
    "an app table whose checks PostgreSQL was told to forget": (
        f"update pg_class set relchecks = 0 where oid = '{QUEST}'::regclass",
        {f"table {QUEST}": "altered"},
    ),
    "a manifest that expects less": (
        "delete from integrity.guard where kind = 'trigger' and identity like 'integrity_mark%'",
        {
            "manifest integrity.guard": "altered",
            **{
                f"trigger integrity_mark on {table}": "unexpected object" for table in (APPLICATION, PARTICIPANT, QUEST)
            },
        },
    ),
    "a manifest that expects something else": (
        "update integrity.guard set definition = 'select 1' where identity = 'integrity.unknown_status'",
        {"manifest integrity.guard": "altered"},
    ),
}


@pytest.mark.parametrize("name", FOR_A_PERSON)
def test_what_a_person_decides_is_noticed(name: str, guarded: _Connection) -> None:
    statement, expected = FOR_A_PERSON[name]
    guarded.execute(statement)
    found = {f"{guard.kind} {guard.identity}": guard for guard in wrong(guarded)}
    assert all(guard.damage for guard in found.values())
    if expected:
        assert {subject: guard.status for subject, guard in found.items()} == expected
    else:
        (guard,) = found.values()
        assert (guard.kind, guard.status) == ("table", "unexpected object")
    # Only the triggers: dropping one of those loses nothing.
    assert all(guard.mend is None for guard in found.values() if guard.kind != "trigger")


def test_a_foreign_key_that_lost_a_trigger_of_its_own_is_noticed(guarded: _Connection) -> None:
    guarded.execute(
        "delete from pg_trigger where tgfoid = 'pg_catalog.\"RI_FKey_check_upd\"'::regproc and tgconstraint in"
        " (select oid from pg_constraint where conname = 'integrity_participant_has_assigned_quest')"
    )
    assert statuses(guarded) == {f"constraint integrity_participant_has_assigned_quest on {PARTICIPANT}": "altered"}


class TestDatabases:
    """What must not be taken for damage."""

    def test_an_adopted_database_is_well(self, app_only: _Connection) -> None:
        proof.attach(app_only)
        assert statuses(app_only) == {}

    @pytest.mark.usefixtures("reference")
    def test_whose_app_has_no_key_of_its_own(self, app_only: _Connection) -> None:
        plant.drop_participant_key(app_only)
        proof.attach(app_only)
        assert statuses(app_only) == {}
        assert guards.differences(app_only) == []

    def test_in_a_schema_with_an_odd_name_and_text_for_statuses(self, app_only: _Connection) -> None:
        for table in ("quests_quest", "applications_application", "quests_questparticipant"):
            app_only.execute(f"alter table {table} alter column status type text")
        app_only.execute('alter schema public rename to "The App"')
        app_only.commit()
        migrate.upgrade(target_of(app_only), x=["app-schema=The App"])
        app_only.autocommit = True
        assert {guard.status for guard in guards.read(app_only)} == {"ok"}
        assert guards.differences(app_only) == []
        app_only.execute(
            """
            alter table "The App".quests_quest disable trigger all;
            drop trigger integrity_mark on "The App".applications_application;
            alter table "The App".applications_application
              drop constraint integrity_approved_application_has_participant;
            alter table "The App".quests_questparticipant drop column integrity_active cascade
            """
        )
        assert len(statuses(app_only)) > 10
        app_only.autocommit = False
        mend_by_hand(app_only)
        assert statuses(app_only) == {}

    def test_whose_rows_keep_constraints_away(self, app_only: _Connection) -> None:
        plant.everything(app_only)
        proof.attach(app_only)
        app_only.autocommit = True
        waiting = wrong(app_only)
        assert {guard.status for guard in waiting} == {"missing", "not validated"}
        assert {guard.kind for guard in waiting} == {"constraint"}
        assert all(guard.waiting and not guard.damage for guard in waiting)
        ran = cli.run(app_only, "guards")
        assert ran.code == 0
        assert f"0 damaged, {len(waiting)} waiting for rows to be repaired" in ran.err

        # What stands in for a constraint is needed until then.
        app_only.autocommit = True
        app_only.execute("alter table quests_quest disable trigger integrity_heal")
        (stand_in,) = guards.damaged(app_only)
        assert (stand_in.identity, stand_in.status) == (f"integrity_heal on {QUEST}", "disabled")
        app_only.execute(f"drop trigger integrity_heal on {QUEST}")
        (stand_in,) = guards.damaged(app_only)
        assert (stand_in.identity, stand_in.status) == (f"integrity_heal on {QUEST}", "missing")
        app_only.execute(str(stand_in.mend))
        assert guards.damaged(app_only) == []

        app_only.autocommit = False
        for table in ("applications_application", "quests_quest", "quests_questparticipant"):
            known = "dropped" if table == "quests_questparticipant" else "open" if table == "quests_quest" else "kicked"
            app_only.execute(f"update {table} set status = '{known}' where status in ('archived', 'paused')")
        app_only.commit()
        proof.repair(app_only)
        assert proof.enforce(app_only) == []
        app_only.autocommit = True
        assert statuses(app_only) == {}

        # From now on it is damage.
        app_only.execute(f"alter table {QUEST} drop constraint integrity_quest_status_known")
        damage = wrong(app_only)
        assert named(damage) == {
            f"constraint integrity_quest_status_known on {QUEST}": "missing",
            f"trigger integrity_quest_status_known on {QUEST}": "missing",
        }
        assert all(guard.damage for guard in damage)
        assert [guard for guard in guards.mend(app_only, LockPolicy()) if guard.status != "ok"] == []

    def test_whose_app_goes_on_with_its_own_migrations(self, app_only: _Connection) -> None:
        """AddField, AddIndex, AddConstraint, AlterField, CreateModel as Django writes them."""
        proof.attach(app_only)
        app_only.execute(
            """
            alter table quests_quest add column mentor_id uuid null
              constraint quests_quest_mentor_id_fk references users_user (id) deferrable initially deferred;
            alter table quests_quest add column seats integer default 1 not null check (seats >= 0);
            alter table quests_quest alter column seats drop default;
            create index quests_quest_mentor_id_idx on quests_quest (mentor_id);
            alter table applications_application add constraint once unique (quest_id, applicant_id, applied_at);
            alter table quests_quest alter column slug type varchar(400);
            create table quests_badge (id bigint primary key, participant_id bigint not null
              references quests_questparticipant (id) deferrable initially deferred);
            create trigger app_search before insert or update on quests_quest for each row
              execute function suppress_redundant_updates_trigger();
            drop trigger app_search on quests_quest;
            """
        )
        assert statuses(app_only) == {}
        app_only.execute("alter table quests_quest drop column seats, drop column mentor_id; drop table quests_badge")
        assert statuses(app_only) == {}
        # The roles have rights on what refers to participants.
        assert "public.quests_questsubmission" in {row[0] for row in app_only.execute(RIGHTS)}
        app_only.execute("alter table quests_questsubmission drop column quest_participant_id")
        assert statuses(app_only) == {}
        app_only.execute("drop table quests_questsubmission")
        assert statuses(app_only) == {}

    @pytest.mark.usefixtures("reference")
    def test_dumped_and_restored(self, migrated: _Connection, empty: _Connection) -> None:
        dump = subprocess.run([program("pg_dump"), url_of(migrated)], check=True, capture_output=True, text=True)
        psql(empty, dump.stdout)
        assert {guard.status for guard in guards.read(empty)} == {"ok"}
        assert guards.differences(empty) == []

    def test_with_a_rule_of_the_user(self, guarded: _Connection) -> None:
        guarded.execute(
            """
            create view integrity."Every quest" as
            select 'Every quest'::text as rule, 'warning'::text as severity, quest.id as quest_id,
              null::uuid as user_id, null::bigint as application_id, null::bigint as participant_id,
              ''::text as message, '{}'::jsonb as expected, '{}'::jsonb as found, null::text as repair,
              'Every quest:' || quest.id as key
            from public.quests_quest as quest;
            select integrity.add_rule('Every quest', 'warning', 'quests', 'There are quests.');
            create function integrity."repair_Every quest"(quests bigint[], keys text[], options jsonb) returns void
            language sql set search_path = pg_catalog as 'select';
            """
        )
        assert statuses(guarded) == {}
        guarded.execute("select integrity.record_guards()")
        assert statuses(guarded) == {}
        guarded.execute(
            """
            create or replace view integrity.violations as
            select rule, severity, quest_id, user_id, application_id, participant_id, message, expected, found, repair,
              key
            from integrity."Every quest"
            """
        )
        damage = wrong(guarded)
        assert named(damage) == {"view integrity.violations": "altered"}
        assert mended(guarded, damage) == []
        assert guarded.execute(
            "select count(*) from integrity.violation_summary where rule = 'Every quest'"
        ).fetchone() == (1,)

    def test_whose_log_lost_its_oldest_and_has_more_months(self, guarded: _Connection) -> None:
        guarded.execute("select integrity.prepare_event_partitions(40)")
        month, other = (
            f"integrity.{name}"
            for (name,) in guarded.execute(
                "select inhrelid::regclass::text from pg_inherits where inhparent = 'integrity.event'::regclass"
                " and inhrelid::regclass::text like 'integrity.event_20%' order by 1 desc limit 2"
            )
            for name in [name.removeprefix("integrity.")]
        )
        oldest = guarded.execute(
            "select min(inhrelid::regclass::text) from pg_inherits where inhparent = 'integrity.event'::regclass"
        ).fetchone()
        assert oldest is not None
        guarded.execute(f"drop table {oldest[0]}")
        assert statuses(guarded) == {}

        guarded.execute(f"drop trigger integrity_append_only_truncate on {month}")
        guarded.execute(f"alter table {month} disable trigger integrity_append_only")
        guarded.execute(f"grant select on {other} to public")
        guarded.execute(f"alter table {other} owner to pg_monitor")
        damage = wrong(guarded)
        assert named(damage) == {
            f"trigger integrity_append_only_truncate on {month}": "missing",
            f"trigger integrity_append_only on {month}": "disabled",
            f"partition {other}": "wrong owner",
        }
        assert mended(guarded, damage) == []

    @pytest.mark.parametrize(
        "path", ["pg_catalog", "public", "integrity, public", "public, integrity, pg_catalog", "''"]
    )
    def test_whatever_the_search_path(self, path: str, guarded: _Connection) -> None:
        guarded.execute(f"set search_path = {path}")
        assert statuses_in_psql(guarded) == {}

    @pytest.mark.parametrize(
        "setting", ["timezone = 'Pacific/Chatham'", "datestyle = 'SQL, DMY'", "bytea_output = 'escape'"]
    )
    def test_whatever_the_settings_of_the_session(self, setting: str, guarded: _Connection) -> None:
        guarded.execute(f"set {setting}")
        assert statuses_in_psql(guarded) == {}

    @pytest.mark.parametrize("setting", ["intervalstyle = 'iso_8601'", "quote_all_identifiers = on"])
    def test_settings_that_change_how_definitions_are_printed(self, setting: str, guarded: _Connection) -> None:
        """The package puts them aside; in psql they make differences, and so are noticed."""
        guarded.execute(f"set {setting}")
        assert statuses_in_psql(guarded) != {}
        assert statuses(guarded) == {}
        guarded.execute("select integrity.record_guards()")
        assert statuses(guarded) == {}


def test_constraints_that_are_not_enforced(guarded: _Connection) -> None:
    if guarded.info.server_version < 180000:
        pytest.skip("NOT ENFORCED is new in PostgreSQL 18")
    guarded.execute(
        f"""
        alter table {APPLICATION} alter constraint integrity_approved_application_has_participant not enforced;
        alter table {QUEST} drop constraint integrity_quest_marker, add constraint integrity_quest_marker
          check (case when assigned_to_id is null then integrity_assigned is null else integrity_assigned is true end)
          not enforced
        """
    )
    damage = wrong(guarded)
    assert named(damage) == {
        f"constraint integrity_approved_application_has_participant on {APPLICATION}": "not enforced",
        f"constraint integrity_quest_marker on {QUEST}": "not enforced",
    }
    assert mended(guarded, damage) == []


class TestReading:
    def test_anybody_who_may_read_the_view(self, guarded: _Connection) -> None:
        guarded.execute(
            f"""
            create role guarded_reader;
            grant usage on schema integrity to guarded_reader;
            grant select on integrity.guard_status to guarded_reader;
            alter table {QUEST} disable trigger integrity_mark;
            set role guarded_reader
            """
        )
        wanted = {
            "schema integrity": "wrong grants",
            "view integrity.guard_status": "wrong grants",
            f"trigger integrity_mark on {QUEST}": "disabled",
        }
        assert statuses_in_psql(guarded) == wanted
        # The package asks the view when it may not ask the catalog with its own words.
        assert statuses(guarded) == wanted

    def test_the_view_says_the_same_as_the_package(self, guarded: _Connection) -> None:
        guarded.execute(
            f"""
            alter table {QUEST} disable trigger all;
            drop view integrity.violation_summary cascade;
            alter function integrity.lock_quest() reset all;
            create table integrity.notes ();
            grant select on integrity.event to public
            """
        )
        found = statuses(guarded)
        assert len(found) > 5
        assert statuses_in_psql(guarded) == found

    def test_a_view_that_lies_is_found_out(self, guarded: _Connection) -> None:
        guarded.execute(
            f"""
            drop view integrity.guard_status cascade;
            create view integrity.guard_status as
            select kind, identity, 'ok' as status, false as damage, false as waiting, '' as detail, '' as mend, position
            from integrity.guard;
            drop trigger integrity_mark on {QUEST}
            """
        )
        assert statuses_in_psql(guarded) == {}
        damage = wrong(guarded)
        assert named(damage) == {
            "view integrity.guard_status": "altered",
            "view integrity.metric": "missing",
            f"trigger integrity_mark on {QUEST}": "missing",
        }
        assert mended(guarded, damage) == []

    @pytest.mark.usefixtures("reference")
    def test_a_manifest_written_anew_is_found_out_by_the_package(self, migrated: _Connection) -> None:
        migrated.execute(
            f"""
            alter function integrity.refuse_event_change() security definer;
            drop trigger integrity_mark on {QUEST};
            create table integrity.notes (id integer);
            select integrity.record_guards()
            """
        )
        migrated.commit()
        migrated.autocommit = True
        assert statuses(migrated) == {}
        assert {guard.identity for guard in guards.differences(migrated)} == {
            "function integrity.refuse_event_change()",
            f"trigger integrity_mark on {QUEST}",
            "table integrity.notes",
            "column integrity.notes.id",
        }
        ran = cli.run(migrated, "guards", "--against-package")
        assert ran.code == 3
        assert "not what this version of the package writes" in ran.out

    @pytest.mark.parametrize("table", ["rule", "law", "installation", "backfill"])
    def test_what_the_comparison_itself_reads(self, table: str, migrated: _Connection) -> None:
        migrated.execute("set client_min_messages = error")
        migrated.execute(f"drop table integrity.{table} cascade")
        migrated.commit()
        migrated.autocommit = True
        assert [(guard.identity, guard.status, guard.damage) for guard in guards.read(migrated)] == [
            (f"integrity.{table}", "missing", True)
        ]
        assert [guard for guard in guards.mend(migrated, LockPolicy()) if guard.status != "ok"] == []

    def test_the_manifest_itself_is_gone(self, migrated: _Connection) -> None:
        migrated.execute("set client_min_messages = error")
        migrated.execute("drop table integrity.guard cascade")
        migrated.commit()
        migrated.autocommit = True
        (gone,) = guards.damaged(migrated)
        assert (gone.identity, gone.status, gone.mend) == ("integrity.guard", "missing", None)
        assert cli.run(migrated, "guards", "--fix").code == 3

    def test_it_is_too_cheap_for_the_just_in_time_compiler(self, migrated: _Connection) -> None:
        """Whose work on a query of this size would take longer than the query."""
        row = migrated.execute("explain (format json) select * from integrity.guard_status").fetchone()
        assert row is not None
        assert row[0][0]["Plan"]["Total Cost"] < 100_000


class TestCommand:
    def test_all_is_well(self, migrated: _Connection) -> None:
        ran = cli.run(migrated, "guards")
        assert (ran.code, ran.out) == (0, "")
        assert re.search(r"^\d{3} guards: 0 damaged, 0 waiting for rows to be repaired$", ran.err, re.MULTILINE)

    def test_damage_is_listed_with_what_mends_it_and_mended(self, migrated: _Connection) -> None:
        migrated.execute(f"alter table {QUEST} disable trigger integrity_mark")
        migrated.execute("create table integrity.notes ()")
        ran = cli.run(migrated, "guards")
        assert ran.code == 3
        assert f"disabled           trigger  integrity_mark on {QUEST}" in ran.out
        assert "enabled: expected origin, found disabled" in ran.out
        mend = f"alter table {QUEST} enable trigger integrity_mark"
        assert f"-- trigger integrity_mark on {QUEST}\n{mend};\n" in ran.out
        assert "-- table integrity.notes\n-- a person decides" in ran.out

        # Nobody can be asked, and nothing was done.
        assert cli.run(migrated, "guards", "--fix").code == 2
        assert len(statuses(migrated)) == 2

        ran = cli.run(migrated, "guards", "--fix", "--yes")
        assert ran.code == 3
        assert f"ran: {mend}\n" in ran.err
        assert "1 damaged" in ran.err
        assert statuses(migrated) == {"table integrity.notes": "unexpected object"}
        migrated.execute("drop table integrity.notes")
        assert cli.run(migrated, "guards", "--fix").code == 0

    @pytest.mark.parametrize(("answer", "left"), [("y", 0), ("n", 1)])
    def test_in_a_terminal_it_asks(self, answer: str, left: int, migrated: _Connection) -> None:
        migrated.execute(f"alter table {QUEST} disable trigger integrity_mark")
        migrated.commit()
        terminal = cli.Terminal(url_of(migrated), "guards", "--fix")
        terminal.expect(r"Repair 1 object\? \[y/N\]")
        assert terminal.answer(answer) == (0 if answer == "y" else 2)
        assert len(statuses(migrated)) == left

    def test_for_machines(self, migrated: _Connection) -> None:
        for form, nothing in (("json", "[]\n"), ("ndjson", ""), ("csv", f"{','.join(COLUMNS)}\n")):
            assert cli.run(migrated, "guards", "--format", form).out == nothing
        migrated.execute(f"alter table {QUEST} disable trigger integrity_mark")
        wanted = {
            "kind": "trigger",
            "identity": f"integrity_mark on {QUEST}",
            "status": "disabled",
            "damage": True,
            "waiting": False,
            "detail": "enabled: expected origin, found disabled",
            "mend": f"alter table {QUEST} enable trigger integrity_mark",
        }
        assert json.loads(cli.run(migrated, "guards", "--format", "json").out) == [wanted]
        assert json.loads(cli.run(migrated, "guards", "--format", "ndjson").out) == wanted
        lines = io.StringIO(cli.run(migrated, "guards", "--format", "csv").out)
        assert list(csv.DictReader(lines)) == [{name: str(value) for name, value in wanted.items()}]

    @pytest.mark.usefixtures("reference")
    def test_a_manifest_that_was_altered_has_nothing_run(self, migrated: _Connection) -> None:
        migrated.execute(f"alter table {QUEST} disable trigger integrity_mark")
        migrated.execute(
            "update integrity.guard set definition = 'select 1' where identity = 'integrity.unknown_status'"
        )
        assert cli.run(migrated, "guards", "--fix", "--yes").code == 2
        assert len(statuses(migrated)) == 2
        # As it says there:
        migrated.commit()
        migrate.downgrade(target_of(migrated), "0011_roles")
        migrate.upgrade(target_of(migrated))
        assert statuses(migrated) == {}
        migrated.commit()
        migrated.autocommit = True
        assert [guard.identity for guard in guards.differences(migrated)] == [f"trigger integrity_mark on {QUEST}"]


class TestAudit:
    """It looks at the guards first and says so in its exit code, whatever it finds itself."""

    def test_nothing_to_say(self, migrated: _Connection) -> None:
        ran = cli.run(migrated, "audit", "--format", "json")
        assert (ran.code, json.loads(ran.out)["damage"]) == (0, [])
        assert "damage" not in ran.err

    @pytest.mark.parametrize("fail_on", ["error", "never"])
    def test_damage(self, fail_on: str, migrated: _Connection) -> None:
        migrated.execute(f"alter table {QUEST} disable trigger integrity_mark")
        ran = cli.run(migrated, "audit", "--fail-on", fail_on)
        assert ran.code == 3
        assert "audited: 0 users" in ran.out
        assert "damage: the layer is not as it should be in 1 places" in ran.err

    def test_for_machines(self, migrated: _Connection) -> None:
        migrated.execute(f"alter table {QUEST} disable trigger integrity_mark")
        ran = cli.run(migrated, "audit", "--format", "json")
        document = json.loads(ran.out)
        Draft202012Validator(json.loads(Path("docs/audit.schema.json").read_text())).validate(document)
        assert (ran.code, document["passes"]) == (3, False)
        assert [guard["status"] for guard in document["damage"]] == ["disabled"]
        ran = cli.run(migrated, "audit", "--format", "junit")
        suite = ElementTree.fromstring(ran.out)
        assert (ran.code, suite.get("failures"), len(suite.findall(".//failure"))) == (3, "1", 1)
        ran = cli.run(migrated, "audit", "--format", "github")
        assert (ran.code, ran.out) == (3, f"::error title=guards::disabled: trigger integrity_mark on {QUEST}\n")

    def test_what_cannot_be_shown(self, migrated: _Connection) -> None:
        migrated.execute("set client_min_messages = error")
        migrated.execute("drop view integrity.violations cascade")
        assert cli.run(migrated, "audit").code == 3
        migrated.execute("drop table integrity.guard cascade")
        assert cli.run(migrated, "audit").code == 3

    def test_repairs_all_the_same(self, app_only: _Connection) -> None:
        plant.approved_without_participant(app_only)
        proof.attach(app_only)
        app_only.execute("create table integrity.notes ()")
        assert cli.run(app_only, "audit", "--fix-issues", "--yes", "--missing-participant", "create").code == 3
        assert proof.rules_broken(app_only) == {}

    def test_validate_makes_it_damage_from_then_on(self, app_only: _Connection) -> None:
        plant.approved_without_participant(app_only)
        proof.attach(app_only)
        name = "integrity_approved_application_has_participant"
        assert statuses(app_only) == {f"constraint {name} on {APPLICATION}": "not validated"}
        assert cli.run(app_only, "audit", "--fix-issues", "--yes", "--missing-participant", "create").code == 0
        assert cli.run(app_only, "validate").code == 0
        app_only.execute(f"alter table {APPLICATION} drop constraint {name}")
        assert cli.run(app_only, "audit").code == 3


class TestMending:
    def test_rows_written_meanwhile_keep_it_damaged_until_they_are_repaired(self, migrated: _Connection) -> None:
        user, quest = factory.user(migrated), factory.quest(migrated)
        migrated.execute(
            f"""
            alter table {APPLICATION} disable trigger user;
            alter table {APPLICATION} drop constraint integrity_approved_application_has_participant
            """
        )
        factory.insert(
            migrated,
            "applications_application",
            {
                "status": "approved",
                "integrity_approved": True,
                "applied_at": plant.DONE,
                "quest_id": quest,
                "applicant_id": user,
            },
        )
        assert cli.run(migrated, "guards", "--fix", "--yes").code == 3
        name = f"constraint integrity_approved_application_has_participant on {APPLICATION}"
        assert statuses(migrated) == {name: "not validated"}
        proof.repair(migrated)
        assert cli.run(migrated, "guards", "--fix", "--yes").code == 0

    def test_a_lock_that_is_not_free_is_waited_for_and_told(self, migrated: _Connection) -> None:
        migrated.execute(f"alter table {QUEST} disable trigger integrity_mark")
        migrated.commit()
        with another(migrated) as holder:
            holder.execute(f"lock table {QUEST} in row exclusive mode")
            with another(migrated, autocommit=True) as session:
                left = guards.mend(session, LockPolicy(timeout=0.2, retries=2))
                assert [guard.identity for guard in left if guard.damage] == [f"integrity_mark on {QUEST}"]
        with another(migrated, autocommit=True) as session:
            assert [guard for guard in guards.mend(session, LockPolicy()) if guard.damage] == []

    def test_a_database_that_is_not_migrated(self, empty: _Connection) -> None:
        ran = cli.run(empty, "guards")
        assert ran.code == 2
        assert "not migrated" in ran.err
