"""A database that breaks every rule, distributed and then attached: found, repaired, undone, enforced."""

import json
from typing import Any

import psycopg
import pytest

from tests.citus.cluster import Cluster
from tests.support import cli, plant

ERRORS = "select count(*) from integrity.violations where severity = 'error' and repair is not null"
MARKERS = """
select count(*) filter (where integrity_approved), count(*) filter (where status = 'approved')
from applications_application
"""

Dirty = tuple[str, list[plant.Planted]]


@pytest.fixture
def broken(cluster: Cluster, dirty: Dirty) -> Any:
    with cluster.connect(dirty[0]) as connection:
        yield connection


def _run(connection: psycopg.Connection[Any], *arguments: object) -> str:
    ran = cli.run(connection, *arguments)
    assert ran.code in {0, 1}, ran.err
    return ran.out


def test_every_rule_finds_what_was_planted(broken: psycopg.Connection[Any], dirty: Dirty) -> None:
    found = broken.execute(plant.PLACES).fetchall()

    assert {each.place for each in dirty[1]} <= set(found)
    assert len(found) == sum(1 + len(each.accompanied_by) for each in dirty[1])
    assert sorted(broken.execute(plant.PLACES.replace("violations", "audit()")).fetchall(), key=str) == sorted(
        found, key=str
    )


def test_markers_of_rows_on_the_shards_are_filled_in(broken: psycopg.Connection[Any]) -> None:
    marked, approved = broken.execute(MARKERS).fetchone() or (0, -1)

    assert marked == approved > 0


def test_previewed_repaired_undone_and_enforced(broken: psycopg.Connection[Any]) -> None:
    before = broken.execute(ERRORS).fetchone()
    repair = ("audit", "--fix-issues", "--yes", "--missing-participant", "create", "--format", "json")

    preview = json.loads(_run(broken, *[word for word in repair if word != "--yes"], "--dry-run"))
    assert broken.execute(ERRORS).fetchone() == before != (0,)
    repaired = json.loads(_run(broken, *repair))

    assert broken.execute(ERRORS).fetchone() == (0,)
    assert preview["repair"]["outcomes"] == repaired["repair"]["outcomes"]
    undone = _run(broken, "undo", repaired["repair"]["run"])
    assert "undone" in undone
    _run(broken, *repair)
    assert broken.execute(ERRORS).fetchone() == (0,)
    _run(broken, "validate")
    waiting = broken.execute(
        "select name from integrity.law_status where state not in ('enforced', 'not requested')"
    ).fetchall()
    assert {name for (name,) in waiting} == {
        f"integrity_{table}_status_known" for table in ("application", "participant", "quest")
    }


def test_what_reads_the_whole_database(broken: psycopg.Connection[Any], tmp_path: Any) -> None:
    assert json.loads(_run(broken, "audit", "--record", "--format", "json"))
    assert json.loads(_run(broken, "history", "--format", "json"))
    assert "quest_integrity_violations" in _run(broken, "metrics")
    assert json.loads(_run(broken, "events", "--format", "json"))
    assert "Its violations" in _run(broken, "explain", "duplicate_pending")
    page = tmp_path / "report.html"
    _run(broken, "report", "--html", page)
    assert page.stat().st_size > 10_000
