"""How the rules are planned on a database of some size: joins and not loops, and indexes for one user or one quest."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from benchmarks import data
from checks import migrate
from tests.support.database import target_of

APPLICATIONS = 10_000
BIG = frozenset(data.TABLES)
# What the rules share in an audit of everything, see integrity.suspects().
PASSES = ("suspect_pair", "suspect_quest", "suspect_duplicate")

Plan = dict[str, Any]


@pytest.fixture
def lived_in(empty: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    target = target_of(empty)
    migrate.upgrade(target, data.APP_ONLY)
    empty.autocommit = True
    data.lived_in(empty, APPLICATIONS, stride=100)
    migrate.upgrade(target, data.RULES_ONLY)
    # PostgreSQL calls a page visible to all only when it has written the commits of its rows.
    empty.execute("checkpoint")
    empty.execute("vacuum (analyze)")
    return empty


def nodes(plan: Plan) -> Iterator[Plan]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def scanned(plan: Plan) -> set[str]:
    """Return the app's tables that a plan reads from end to end."""
    return {node["Relation Name"] for node in nodes(plan) if node["Node Type"] == "Seq Scan"} & BIG


def repeated(plan: Plan) -> list[Plan]:
    """Return the parts of a plan that run once per row of another part."""
    parts = []
    for node in nodes(plan):
        children = node.get("Plans", ())
        parts += [child for child in children if child.get("Parent Relationship") == "SubPlan"]
        if node["Node Type"] == "Nested Loop":
            parts += [child for child in children if child.get("Parent Relationship") == "Inner"]
    return parts


def explain(connection: psycopg.Connection[Any], query: str, *parameters: object) -> Plan:
    row = connection.execute(f"explain (format json) {query}".encode(), parameters).fetchone()
    assert row is not None
    plan: Plan = row[0][0]["Plan"]
    return plan


def test_no_rule_loops_over_a_scan(lived_in: psycopg.Connection[Any]) -> None:
    rules = [rule for (rule,) in lived_in.execute("select rule from integrity.rule where severity <> 'off'")]
    assert len(rules) >= 12
    looped = {
        view: found
        for view in [*rules, *PASSES, "violations"]
        for part in repeated(explain(lived_in, f"select * from integrity.{view}"))
        if (found := scanned(part))
    }
    assert looped == {}


def test_the_passes_read_each_table_once(lived_in: psycopg.Connection[Any]) -> None:
    read = {
        view: Counter(
            node["Relation Name"]
            for node in nodes(explain(lived_in, f"select * from integrity.{view}"))
            if node["Node Type"] == "Seq Scan" and node["Relation Name"] in BIG
        )
        for view in PASSES[:2]
    }
    assert read == {
        "suspect_pair": {"applications_application": 1, "quests_questparticipant": 1},
        "suspect_quest": {"quests_quest": 1, "quests_questparticipant": 1},
    }


def test_one_user_is_found_without_reading_everybody(lived_in: psycopg.Connection[Any]) -> None:
    (person,) = lived_in.execute("select person(7)").fetchone() or (None,)
    assert scanned(explain(lived_in, "select * from integrity.violations where user_id = %s", person)) == set()


def test_one_quest_is_found_without_reading_all(lived_in: psycopg.Connection[Any]) -> None:
    assert scanned(explain(lived_in, "select * from integrity.violations where quest_id = %s", 7)) == set()
