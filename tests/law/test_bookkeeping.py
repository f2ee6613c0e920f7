"""The layer's own tables refuse what would make them say nonsense: each of their constraints, and what it lets pass."""

from typing import Any

import psycopg
import pytest

_Connection = psycopg.Connection[Any]

ROWS = """
insert into integrity.repair_run (id, kind, actor, options) overriding system value values (7, 'repair', 'test', '{}');
insert into integrity.repair_item (run, number, rule, key, quest_id) overriding system value values (7, 7, 'a', 'b', 1);
insert into integrity.repair_change (run, number, rule, quest_id, relation, row_key) overriding system value
values (7, 7, 'a', 1, 'quests_quest', '{}');
insert into integrity.audit_run (id, actor) overriding system value values (7, 'test');
insert into integrity.audit_count (run, rule, severity, violations, quests, users) values (7, 'a', 'error', 0, 0, 0);
insert into integrity.audit_violation (number, rule, key, first_run, first_seen) overriding system value
values (7, 'a', 'b', 7, now())
"""
AGAIN = """
insert into integrity.{table} overriding system value
select again.*
from (select old as whole from integrity.{table} as old limit 1) as one
cross join jsonb_populate_record(one.whole, %s::jsonb) as again
"""

# By key: its table, and what a second row may have different and is refused all the same.
KEYS = {
    "alembic_version_pkc": ("alembic_version", "{}"),
    "audit_count_pkey": ("audit_count", '{"severity": "warning"}'),
    "audit_run_pkey": ("audit_run", '{"started_at": "2020-01-01"}'),
    "audit_violation_pkey": ("audit_violation", '{"rule": "other", "key": "other"}'),
    "backfill_pkey": ("backfill", '{"marker": "other"}'),
    "guard_pkey": ("guard", '{"expected": {}, "definition": null}'),
    "installation_pkey": ("installation", '{"app_schema": "other"}'),
    "law_pkey": ("law", '{"relation": "other"}'),
    "repair_change_pkey": ("repair_change", '{"rule": "other"}'),
    "repair_item_pkey": ("repair_item", '{"rule": "other"}'),
    "repair_run_pkey": ("repair_run", '{"kind": "undo"}'),
    "rule_pkey": ("rule", '{"severity": "warning", "category": "other"}'),
}
# Rows that differ in a part of their key.
BESIDE = [
    ("audit_count", '{"rule": "other"}'),
    ("guard", '{"kind": "other", "expected": {}}'),
    ("guard", '{"identity": "other", "expected": {}}'),
    ("repair_change", '{"number": 8}'),
    ("repair_item", '{"number": 8}'),
]
REFERENCES = {
    "audit_count_run_fk": ("audit_count", '{"run": 8}'),
    "repair_change_run_fk": ("repair_change", '{"run": 8}'),
    "repair_item_run_fk": ("repair_item", '{"run": 8}'),
    "repair_run_undoes_fk": ("repair_run", '{"id": 8, "undoes": 9}'),
}
# By CHECK: its table, the column, and all that it may be.
CHECKS = {
    "law_kind_known": ("law", "kind", ["unique", "check", "foreign key"]),
    "repair_item_outcome_known": (
        "repair_item",
        "outcome",
        ["repaired", "gone", "refused", "undone", "partly undone", "changed since"],
    ),
    "repair_run_kind_known": ("repair_run", "kind", ["repair", "undo"]),
    "rule_severity_known": ("rule", "severity", ["error", "warning"]),
}


@pytest.fixture
def books(migrated: _Connection) -> _Connection:
    """Return a database whose own tables all have a row, in an open transaction."""
    for statement in ROWS.split(";\n"):
        migrated.execute(statement.encode())
    return migrated


def refused(books: _Connection, statement: str, parameters: list[str] | None = None) -> tuple[str | None, str | None]:
    """Run a statement that must be refused at once; return the SQLSTATE and the constraint."""
    with pytest.raises(psycopg.IntegrityError) as caught:
        books.execute(statement.encode(), parameters)
    return caught.value.sqlstate, caught.value.diag.constraint_name


@pytest.mark.parametrize("name", KEYS)
def test_a_second_row_of_that_key(name: str, books: _Connection) -> None:
    table, changes = KEYS[name]
    assert refused(books, AGAIN.format(table=table), [changes]) == ("23505", name)


@pytest.mark.parametrize(("table", "changes"), BESIDE)
def test_a_row_beside_it(table: str, changes: str, books: _Connection) -> None:
    assert books.execute(AGAIN.format(table=table).encode(), [changes]).rowcount == 1


@pytest.mark.parametrize("name", REFERENCES)
def test_a_run_that_is_not_there(name: str, books: _Connection) -> None:
    table, changes = REFERENCES[name]
    assert refused(books, AGAIN.format(table=table), [changes]) == ("23503", name)


@pytest.mark.parametrize("name", CHECKS)
def test_a_word_that_nobody_knows(name: str, books: _Connection) -> None:
    table, column, known = CHECKS[name]
    for word in known:
        assert books.execute(f"update integrity.{table} set {column} = %s".encode(), [word]).rowcount > 0
    assert refused(books, f"update integrity.{table} set {column} = 'other'") == ("23514", name)


def test_a_second_installation(books: _Connection) -> None:
    changes = '{"singleton": false}'
    assert refused(books, AGAIN.format(table="installation"), [changes]) == ("23514", "installation_is_one_row")


def test_an_audit_takes_its_counts_along(books: _Connection) -> None:
    books.execute("delete from integrity.audit_run")
    assert books.execute("select from integrity.audit_count").rowcount == 0


@pytest.mark.parametrize(
    ("table", "name"), [("repair_item", "repair_item_run_fk"), ("repair_change", "repair_change_run_fk")]
)
def test_a_run_with_rows_stays(table: str, name: str, books: _Connection) -> None:
    other = ({"repair_item", "repair_change"} - {table}).pop()
    books.execute(f"delete from integrity.{other}".encode())
    assert refused(books, "delete from integrity.repair_run") == ("23503", name)


def test_what_a_row_says_of_itself(migrated: _Connection) -> None:
    """What whoever writes these tables leaves out."""
    started = migrated.execute(
        "insert into integrity.backfill (relation, marker, condition) values ('t', 'm', 'c')"
        " returning last_id, rows_marked"
    )
    # The least bigint, which no id is below.
    assert started.fetchall() == [(-(2**63), 0)]
    migrated.execute("delete from integrity.installation")
    installed = migrated.execute(
        "insert into integrity.installation (app_schema, created_tables) values ('public', '{}')"
        " returning singleton, installed_at = now()"
    )
    assert installed.fetchall() == [(True, True)]
    next_law = migrated.execute(
        "insert into integrity.law (name, kind, relation, definition, waits, rules)"
        " values ('n', 'check', 'r', 'd', false, '{}')"
        " returning position - (select max(position) from integrity.law)"
    )
    assert next_law.fetchall() == [(1,)]
