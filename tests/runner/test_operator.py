"""Repair and undo by an operator, who has no right of their own on the app's rows.

What they call works with the owner's rights: integrity.operate, operate_rows, start_repair and start_undo.
"""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb
from typer.testing import CliRunner

from checks.cli import app
from tests.support import plant
from tests.support.database import url_of
from tests.support.proof import CREATE

_Connection = psycopg.Connection[Any]

TABLES = ("applications_application", "quests_questparticipant", "quests_quest")


@pytest.fixture
def operator(dirty: _Connection) -> Iterator[str]:
    """Return who has the layer's role for operators, and nothing else."""
    name = f"operator_of_{dirty.info.dbname}"
    role = sql.Identifier(name)
    dirty.execute(sql.SQL("create role {} login in role integrity_operator").format(role))
    dirty.commit()
    yield name
    dirty.rollback()
    dirty.execute(sql.SQL("drop role {}").format(role))
    dirty.commit()


def run(dirty: _Connection, operator: str, *arguments: object) -> tuple[int, str]:
    """Run a command as the operator; return its exit code and what it printed."""
    dirty.commit()
    url = make_conninfo(url_of(dirty), user=operator)
    result = CliRunner().invoke(app, ["--database-url", url, *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def content(dirty: _Connection) -> list[list[tuple[Any, ...]]]:
    return [dirty.execute(f"select to_jsonb(t) from {table} as t order by id").fetchall() for table in TABLES]


def test_previews_repairs_and_undoes(dirty: _Connection, operator: str) -> None:
    before = content(dirty)
    (broken,) = dirty.execute("select count(*) from integrity.violations where repair is not null").fetchone() or (0,)
    assert broken > 0

    code, shown = run(dirty, operator, "audit", "--fix-issues", "--dry-run")
    assert (code, content(dirty)) == (1, before)
    assert "quests_questparticipant" in shown

    run(dirty, operator, "audit", "--fix-issues", "--yes", "--missing-participant", "create", "--reason", "ticket 7")
    assert dirty.execute("select count(*) from integrity.violations where repair is not null").fetchone() == (0,)
    assert dirty.execute("select id, actor, reason from integrity.repair_run where finished_at is not null").fetchall()[
        -1
    ][1:] == (operator, "ticket 7")
    (changed,) = dirty.execute("select count(*) from integrity.repair_change").fetchone() or (0,)
    assert changed > 0
    assert content(dirty) != before

    # The preview took the first number.
    (repaired,) = dirty.execute("select max(id) from integrity.repair_run").fetchone() or (0,)
    run(dirty, operator, "undo", repaired)
    outcomes = dirty.execute(
        "select outcome, count(*) from integrity.repair_item as item"
        " inner join integrity.repair_run as run on run.id = item.run where run.kind = 'undo' group by outcome"
    ).fetchall()
    assert {outcome for outcome, _ in outcomes} <= {"undone", "partly undone", "refused"}
    assert "undone" in {outcome for outcome, _ in outcomes}
    assert dirty.execute("select distinct actor from integrity.repair_run where kind = 'undo'").fetchall() == [
        (operator,)
    ]


def test_a_batch_is_of_the_run_it_is_asked_for(dirty: _Connection, operator: str) -> None:
    """A repair that is still under way does not decide whether the next batch of another run repairs or undoes."""
    url = make_conninfo(url_of(dirty), user=operator)
    with psycopg.connect(url, autocommit=True) as session:
        (first,) = session.execute("select integrity.start_repair('first', '{}')").fetchone() or (0,)
        (second,) = session.execute("select integrity.start_repair('second', '{}')").fetchone() or (0,)
        for each in (first, second):
            session.execute("select integrity.plan_repair(%s, null, null, null, null)", [each])
        assert session.execute("select integrity.repair_batch(%s, 1000)", [second]).fetchone() != (0,)
        handled = "select count(outcome) from integrity.repair_item where run = %s"
        assert dirty.execute(handled, [first]).fetchone() == (0,)
        assert dirty.execute(handled, [second]).fetchone() != (0,)


def test_repairs_one_violation_and_sees_the_rows_it_may_change(dirty: _Connection, operator: str) -> None:
    key, quest_id = dirty.execute(
        "select key, quest_id from integrity.violations where rule = 'duplicate_participant'"
    ).fetchone() or ("", 0)
    look = "select relation, row_key, content from integrity.quest_rows(array[%s::bigint]) order by relation, row_key"
    before = dirty.execute(look, [quest_id]).fetchall()
    dirty.commit()
    with psycopg.connect(make_conninfo(url_of(dirty), user=operator), autocommit=True) as session:
        assert session.execute(look, [quest_id]).fetchall() == before != []
        repaired = session.execute(
            "select integrity.repair_violation(%s, 'by hand', %s)", [key, Jsonb(CREATE)]
        ).fetchone()
        assert repaired == ("repaired",)
        assert session.execute(look, [quest_id]).fetchall() != before


def test_may_see_what_is_wrong_but_not_the_rows_themselves(dirty: _Connection, operator: str) -> None:
    with psycopg.connect(make_conninfo(url_of(dirty), user=operator), autocommit=True) as session:
        assert session.execute(plant.PLACES).fetchall() != []
        for table in TABLES:
            for statement in (f"select * from {table}", f"delete from {table}"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    session.execute(statement.encode())
