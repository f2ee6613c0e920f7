"""An app whose tables have only the columns that the layer names can adopt it, and an adopted one can become so."""

import re
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from tests.mechanism.state import State, assert_sound, state
from tests.support import plant
from tests.support.guards import wrong
from tests.support.programs import ROOT
from tests.support.proof import attach, enforce, repair, rules_broken

_Connection = psycopg.Connection[Any]

NEEDED = {
    "users_user": {"id", "username"},
    "quests_quest": {"id", "status", "assigned_to_id", "completed_at"},
    "applications_application": {"id", "status", "applicant_id", "quest_id"},
    "quests_questparticipant": {"id", "status", "joined_at", "progress_notes", "quest_id", "user_id"},
}


def _drop_the_rest(connection: _Connection) -> None:
    """Drop every column that the layer does not name, as Django's RemoveField does."""
    for table, needed in NEEDED.items():
        rows = connection.execute(
            "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped",
            [table],
        ).fetchall()
        for (name,) in rows:
            if name not in needed and not name.startswith("integrity_"):
                connection.execute(
                    sql.SQL("alter table {} drop column {} cascade").format(sql.Identifier(table), sql.Identifier(name))
                )
    connection.commit()


def _user(connection: _Connection) -> UUID:
    user_id = uuid4()
    connection.execute("insert into users_user (id, username) values (%s, %s)", [user_id, str(user_id)])
    return user_id


def _id(connection: _Connection, query: str, *values: object) -> int:
    row = connection.execute(query.encode(), values).fetchone()
    assert row is not None
    return int(row[0])


def _quest(connection: _Connection) -> int:
    return _id(connection, "insert into quests_quest (status) values ('open') returning id")


def _apply(connection: _Connection, quest_id: int, user_id: UUID, status: str = "pending") -> int:
    return _id(
        connection,
        "insert into applications_application (quest_id, applicant_id, status) values (%s, %s, %s) returning id",
        *(quest_id, user_id, status),
    )


def test_the_list_is_the_one_that_the_layer_keeps(migrated: _Connection) -> None:
    found: dict[str, set[str]] = {}
    for relation, attribute in migrated.execute("select relation, attribute from integrity.needed_column"):
        found.setdefault(relation, set()).add(attribute)
    assert found == NEEDED


def test_the_document_has_the_list(migrated: _Connection) -> None:
    rows = migrated.execute("select relation, attribute, type, is_left_empty, is_filled from integrity.needed_column")
    text = (ROOT / "docs" / "adopting.md").read_text()
    for relation, attribute, type_, is_left_empty, is_filled in rows:
        note = "filled" if is_filled else "nullable" if is_left_empty else ""
        assert f"| `{relation}` | `{attribute}` | {type_} | {note}" in text
    assert len(re.findall(r"^\| `\w+` \| `\w+` \| (?:uuid|text|bigint|timestamp)", text, re.M)) == rows.rowcount


def test_the_layer_depends_on_no_other_column(migrated: _Connection) -> None:
    """Views, triggers, keys and foreign keys, as PostgreSQL keeps their dependencies."""
    found = migrated.execute(
        """
        select distinct class.relname, attribute.attname
        from pg_depend as dependency
        join pg_class as class on class.oid = dependency.refobjid
        join pg_attribute as attribute on attribute.attrelid = class.oid and attribute.attnum = dependency.refobjsubid
        left join pg_rewrite as rule on dependency.classid = 'pg_rewrite'::regclass and rule.oid = dependency.objid
        left join pg_class as view on view.oid = rule.ev_class
        left join pg_trigger as trigger
          on dependency.classid = 'pg_trigger'::regclass and trigger.oid = dependency.objid
        left join pg_constraint as own
          on dependency.classid = 'pg_constraint'::regclass and own.oid = dependency.objid
        where
          dependency.refclassid = 'pg_class'::regclass
          and dependency.refobjsubid > 0
          and class.relnamespace = 'public'::regnamespace
          and (
            view.relnamespace = 'integrity'::regnamespace
            or trigger.tgname like 'integrity%'
            or own.conname like 'integrity%'
          )
        """
    ).fetchall()
    others = {(table, name) for table, name in found if not name.startswith("integrity_")}
    assert {(table, name) for table, name in others if name not in NEEDED[table]} == set()
    assert ("quests_questparticipant", "status") in others


@pytest.mark.parametrize("when", ["before", "after"], ids=["adopted so", "dropped later"])
def test_it_adopts_approves_kicks_repairs_and_undoes(when: str, app_only: _Connection) -> None:
    lost = plant.approved_without_participant(app_only)
    plant.duplicate_approval(app_only)
    before = state(app_only, lost.quest_id)
    app_only.commit()
    if when == "before":
        _drop_the_rest(app_only)
    attach(app_only)
    if when == "after":
        _drop_the_rest(app_only)

    assert set(repair(app_only).values()) == {"repaired"}
    assert rules_broken(app_only) == {}
    assert state(app_only, lost.quest_id).participants == {**before.participants, lost.user_id: "joined"}

    quest_id, user_id = _quest(app_only), _user(app_only)
    application_id = _apply(app_only, quest_id, user_id)
    app_only.execute("update applications_application set status = 'approved' where id = %s", [application_id])
    app_only.commit()
    assert state(app_only, quest_id) == State("in-progress", user_id, {application_id: "approved"}, {user_id: "joined"})
    app_only.execute("update applications_application set status = 'kicked' where id = %s", [application_id])
    app_only.commit()
    assert state(app_only, quest_id) == State("open", None, {application_id: "kicked"}, {user_id: "dropped"})
    app_only.execute("update applications_application set status = 'approved' where id = %s", [application_id])
    app_only.execute("delete from quests_questparticipant where quest_id = %s", [quest_id])
    app_only.commit()
    assert state(app_only, quest_id) == State("open", None, {application_id: "kicked"}, {})

    app_only.execute("select integrity.start_undo(1, 'test')")
    while app_only.execute("select integrity.undo_batch(2, 10)").fetchone() != (0,):
        app_only.commit()
    assert app_only.execute(
        "select outcome from integrity.repair_item where run = 2 and quest_id = %s", [lost.quest_id]
    ).fetchone() == ("partly undone",)
    # The participant is gone again; the law lets nobody be approved without one, so the application ends.
    assert state(app_only, lost.quest_id).participants == before.participants

    repair(app_only)
    assert enforce(app_only) == []
    assert_sound(app_only)


def test_a_removed_legacy_column_is_no_damage(migrated: _Connection) -> None:
    for name in ("application_id", "application_date", "application_message", "review_notes", "reviewed_at"):
        migrated.execute(f"alter table quests_questparticipant drop column {name} cascade".encode())
    migrated.commit()
    assert wrong(migrated) == []
