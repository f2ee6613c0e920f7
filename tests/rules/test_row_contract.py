"""What every rule's view promises to whoever reads it: the same columns, one severity, a key that stays."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.support import plant
from tests.support.proof import attach, places, repair, rows, rules_broken

_Connection = psycopg.Connection[Any]

COLUMNS = [
    ("rule", "text"),
    ("severity", "text"),
    ("quest_id", "bigint"),
    ("user_id", "uuid"),
    ("application_id", "bigint"),
    ("participant_id", "bigint"),
    ("message", "text"),
    ("expected", "jsonb"),
    ("found", "jsonb"),
    ("repair", "text"),
    ("key", "text"),
]


def _registered(connection: _Connection) -> dict[str, str]:
    return dict(connection.execute("select rule, severity from integrity.rule where severity <> 'off'").fetchall())


def _columns(connection: _Connection, view: str) -> list[tuple[str, str]]:
    return connection.execute(
        "select attname, format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped order by attnum",
        [f"integrity.{view}"],
    ).fetchall()


def _keys(connection: _Connection) -> dict[tuple[Any, ...], str]:
    found = connection.execute(plant.PLACES.replace("select", "select key,", 1))
    return {tuple(place): key for key, *place in found}


def test_every_view_has_the_same_columns(rules: _Connection) -> None:
    for view in [*_registered(rules), *plant.OFF, "violations"]:
        assert _columns(rules, view) == COLUMNS, view


def test_every_rule_speaks_in_its_own_name_and_severity(rules: _Connection) -> None:
    plant.everything(rules)
    for rule, severity in _registered(rules).items():
        found = rows(rules, rule)
        assert found, rule
        for row in found:
            assert (row["rule"], row["severity"]) == (rule, severity)
            assert row["key"].startswith(f"{rule}:")
            assert row["message"].strip()
            assert row["quest_id"] is not None
            # Somebody who compares the two must see a difference.
            assert row["expected"] != row["found"]


def test_the_union_has_every_row_of_every_view(rules: _Connection) -> None:
    plant.everything(rules)
    single = [tuple(map(str, row.values())) for rule in _registered(rules) for row in rows(rules, rule)]
    union = [tuple(map(str, row.values())) for row in rows(rules, "violations")]
    assert sorted(union) == sorted(single)


def test_a_rule_has_a_repair_where_its_rows_name_one(unattached: _Connection) -> None:
    plant.everything(unattached)
    attach(unattached)
    named = unattached.execute("select distinct rule from integrity.violations where repair is not null")
    repairable = unattached.execute("select rule from integrity.repair_order where option is null")
    assert set(named.fetchall()) == set(repairable.fetchall())


def test_repair_is_an_action_or_null(rules: _Connection) -> None:
    """A rule that only a person can settle says so in every row, and none says so in some rows only."""
    plant.everything(rules)
    for rule in _registered(rules):
        named = {row["repair"] is not None for row in rows(rules, rule)}
        assert len(named) == 1, rule
    assert all(row["repair"] is None or row["repair"].strip() for row in rows(rules, "violations"))


def test_a_key_is_unique(rules: _Connection) -> None:
    for _ in range(2):
        plant.everything(rules)
    found = [row["key"] for row in rows(rules, "violations")]
    assert len(found) == len(set(found))


def _unrelated_writes(connection: _Connection) -> None:
    plant.sound_rows(connection)
    plant.everything(connection)
    connection.execute("update quests_quest set title = title || ' again', updated_at = now()")
    connection.execute("update applications_application set reviewed_at = now()")
    connection.execute("update quests_questparticipant set progress_notes = 'halfway'")


@pytest.mark.parametrize(
    "between", [lambda connection: None, _unrelated_writes], ids=["read_twice", "unrelated_writes"]
)
def test_a_key_stays(between: Callable[[_Connection], None], rules: _Connection) -> None:
    planted = plant.everything(rules)
    before = _keys(rules)
    between(rules)
    after = _keys(rules)
    assert {each.place for each in planted} <= before.keys()
    assert {place: after[place] for place in before} == before


def test_a_key_outlives_the_attachment_of_the_law(unattached: _Connection) -> None:
    plant.everything(unattached)
    before = _keys(unattached)
    attach(unattached)
    assert _keys(unattached) == before


def test_one_planting_of_everything_is_read_in_full(rules: _Connection) -> None:
    """What the other tests rely on: every rule is broken, nothing is broken that was not meant to be."""
    planted = plant.everything(rules)
    expected = [each.rule for each in planted] + [rule for each in planted for rule in each.accompanied_by]
    assert {rule: expected.count(rule) for rule in expected} == rules_broken(rules)
    assert set(expected) == set(_registered(rules))


def test_sound_rows_break_nothing(rules: _Connection) -> None:
    plant.sound_rows(rules)
    assert places(rules) == set()


def test_empty_tables_break_nothing(rules: _Connection) -> None:
    assert places(rules) == set()


def test_repair_of_everything_leaves_what_a_person_must_decide(unattached: _Connection) -> None:
    plant.everything(unattached)
    undecided = unattached.execute(f"{plant.PLACES} where repair is null").fetchall()
    attach(unattached)

    outcomes = repair(unattached)

    assert set(outcomes.values()) <= {"repaired", "gone"}
    assert places(unattached) == set(undecided)


def test_views_read_the_statuses_and_not_the_markers(unattached: _Connection) -> None:
    """They are an independent witness: wrong markers, planted with everything of ours off, change nothing."""
    plant.everything(unattached)
    attach(unattached)
    before = places(unattached)
    unattached.commit()
    for table, marker in (
        ("applications_application", "integrity_approved"),
        ("quests_questparticipant", "integrity_active"),
        ("quests_quest", "integrity_assigned"),
    ):
        constraints = unattached.execute(
            "select conname from pg_constraint where conrelid = %s::regclass and conname like 'integrity_%%'"
            " and contype in ('c', 'f')",
            [table],
        ).fetchall()
        unattached.execute(sql.SQL("alter table {} disable trigger user").format(sql.Identifier(table)))
        for (name,) in constraints:
            unattached.execute(
                sql.SQL("alter table {} drop constraint {}").format(sql.Identifier(table), sql.Identifier(name))
            )
        unattached.execute(
            sql.SQL("update {0} set {1} = case when {1} then null else true end").format(
                sql.Identifier(table), sql.Identifier(marker)
            )
        )
    assert places(unattached) == before
