"""Repair and undo on random databases: the preview is exact, nothing repairable is left, an undo is honest."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from pytest_postgresql.executors import NoopExecutor

from checks import repair
from checks.violations import EVERYTHING
from tests.support.database import copied
from tests.support.dirt import Dirt, Row, State, databases, difference, spread, state
from tests.support.proof import attach, enforce

_Connection = psycopg.Connection[Any]
Diff = dict[Any, tuple[dict[str, Any] | None, dict[str, Any] | None]]

# What a new row gets from a sequence or a clock.
FRESH = {"id", "joined_at"}
_numbers = count(1)


@contextmanager
def adopted(template: NoopExecutor, dirt: Dirt) -> Iterator[_Connection]:
    """Yield an autocommit connection to a database of its own, to whose dirt the layer was attached."""
    with copied(template, next(_numbers)) as connection:
        spread(connection, dirt)
        attach(connection)
        connection.autocommit = True
        yield connection


def comparable(diff: Diff) -> Diff:
    """Return a diff with new rows under the name of their quest and user, without what is different each time."""
    named: Diff = {}
    for row, (before, after) in diff.items():
        if before is None and after is not None:
            content = {column: value for column, value in after.items() if column not in FRESH}
            named["new", row[0], after["quest_id"], after["user_id"]] = (None, content)
        else:
            named[row] = (before, after)
    return named


def recorded(changes: Iterable[repair.Change]) -> Diff:
    diff: Diff = {}
    for change in changes:
        (key,) = change.row_key.values()
        diff[change.relation.removeprefix("public."), key] = (change.before, change.after)
    return diff


def error_keys(connection: _Connection) -> set[str]:
    return {key for (key,) in connection.execute("select key from integrity.violations where severity = 'error'")}


options = st.builds(
    repair.Options,
    st.just(EVERYTHING),
    missing_participant=st.sampled_from(["create", "revoke"]),
    batch_size=st.sampled_from([1, 2, 500]),
)
# How many databases is for the profile to say: tests/conftest.py.
on_databases = settings(deadline=None, suppress_health_check=list(HealthCheck))


def silent(_done: int, _planned: int) -> None:
    """Show no progress."""


@given(dirt=databases, how=options)
@on_databases
def test_what_is_shown_is_what_happens(unattached_server: NoopExecutor, dirt: Dirt, how: repair.Options) -> None:
    with adopted(unattached_server, dirt) as connection:
        before = state(connection)

        with repair.preview(connection, how, silent) as (previewed, changes):
            shown = recorded(changes)

        assert state(connection) == before

        applied = repair.apply(connection, how, silent)

        observed = difference(before, state(connection))
        assert comparable(shown) == comparable(observed)
        assert recorded(repair.changes(connection, applied.run)) == observed
        assert applied.outcomes == previewed.outcomes
        assert applied.left == ()
        left = connection.execute(
            "select key from integrity.violations where severity = 'error' and repair is not null"
        )
        assert left.fetchall() == []


def quest_of(row: Row, *states: State) -> int:
    """Return the quest that a row is about, as whichever state has the row says."""
    table, row_id = row
    if table == "quests_quest":
        return row_id
    (content, *_) = (each[row] for each in states if row in each)
    if table == "quests_questsubmission":
        return quest_of(("quests_questparticipant", content["quest_participant_id"]), *states)
    return int(content["quest_id"])


def assert_honest(connection: _Connection, undo: repair.Result, wanted: State) -> None:
    """The outcome of each quest says exactly which of its rows are not as wanted."""
    found = state(connection)
    left: dict[int, set[str]] = {}
    for row in difference(wanted, found):
        said = f"public.{row[0]} {json.dumps({'id': row[1]})}"
        left.setdefault(quest_of(row, found, wanted), set()).add(said)
    items = connection.execute(
        "select quest_id, outcome, detail from integrity.repair_item where run = %s", [undo.run]
    ).fetchall()
    reported = {quest: detail for quest, outcome, detail in items if outcome != "undone"}
    for quest, outcome, detail in items:
        note(f"{quest}: {outcome} {detail}")
        assert (outcome == "undone") == (detail is None)
        if outcome != "refused":
            assert set(detail.split(", ") if detail else []) == left.get(quest, set())
    assert set(left) <= set(reported)


def assert_no_more_could_be_restored(connection: _Connection, undo: repair.Result, undone: int, wanted: State) -> None:
    """No single row of those that are left could be put back as well: the law refuses, or the mechanism corrects.

    A quest of which the law refuses one row is left whole.
    """
    found = state(connection)
    present = difference(wanted, found)
    refused = {left.quest_id for left in undo.left if left.outcome == "refused"}
    for change in list(repair.changes(connection, undone)):
        (key,) = change.row_key.values()
        row = (change.relation.removeprefix("public."), key)
        if row not in present or quest_of(row, found, wanted) in refused:
            continue
        with connection.transaction(force_rollback=True):
            try:
                with connection.transaction():
                    connection.execute(
                        "select integrity.restore_row(%s, %s, %s, %s)",
                        [
                            change.relation,
                            json.dumps(change.row_key),
                            change.before and json.dumps(change.before),
                            change.after and json.dumps(change.after),
                        ],
                    )
                    connection.execute("set constraints all immediate")
            except psycopg.errors.IntegrityError:
                continue
            assert not difference(wanted, state(connection)).keys() < present.keys(), change


@given(dirt=databases, how=options, validated=st.booleans())
@on_databases
def test_an_undo_restores_what_the_law_allows_and_reports_the_rest(
    unattached_server: NoopExecutor, dirt: Dirt, how: repair.Options, validated: bool
) -> None:
    with adopted(unattached_server, dirt) as connection:
        before, errors = state(connection), error_keys(connection)
        applied = repair.apply(connection, how, silent)
        after = state(connection)
        if validated:
            enforce(connection)

        undo = repair.undo(connection, applied.run, None, 500, silent)

        note(f"{undo}")
        assert_honest(connection, undo, before)
        assert_no_more_could_be_restored(connection, undo, applied.run, before)
        assert error_keys(connection) <= errors
        between = state(connection)

        again = repair.undo(connection, undo.run, None, 500, silent)

        note(f"{again}")
        assert_honest(connection, again, after)
        assert error_keys(connection) <= errors
        assert recorded(repair.changes(connection, again.run)) == difference(between, state(connection))


@given(dirt=databases, how=options, data=st.data())
@on_databases
def test_an_undo_leaves_rows_alone_that_somebody_wrote_into_since(
    unattached_server: NoopExecutor, dirt: Dirt, how: repair.Options, data: st.DataObject
) -> None:
    with adopted(unattached_server, dirt) as connection:
        applied = repair.apply(connection, how, silent)
        mine = {"quests_quest": "title", "quests_questparticipant": "progress_notes"}
        now = state(connection)
        present = [row for row in recorded(repair.changes(connection, applied.run)) if row in now]
        chosen = data.draw(st.lists(st.sampled_from(sorted(present)), unique=True)) if present else []
        written = [(table, row_id) for table, row_id in chosen if table in mine]
        for table, row_id in written:
            connection.execute(f"update {table} set {mine[table]} = 'mine' where id = %s", [row_id])
        before = state(connection)

        undo = repair.undo(connection, applied.run, None, 500, silent)

        after = state(connection)
        reported = {left.quest_id: str(left.detail) for left in undo.left}
        refused = {left.quest_id for left in undo.left if left.outcome == "refused"}
        for row in written:
            table, row_id = row
            quest_id = quest_of(row, after)
            assert quest_id in refused or f"public.{table} {json.dumps({'id': row_id})}" in reported[quest_id]
            # The mechanism may derive it from others, as it does at any time; nothing else of it changes.
            derived = {"status", "assigned_to_id", "integrity_assigned", "integrity_active"}
            assert {name: value for name, value in after[row].items() if name not in derived} == {
                name: value for name, value in before[row].items() if name not in derived
            }


def test_it_would_notice_a_change_that_is_not_recorded(
    unattached_server: NoopExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        repair,
        "CHANGES",
        repair.CHANGES.replace("where run = %(run)s", "where run = %(run)s and relation like '%%quest'"),
    )
    with pytest.raises(AssertionError):
        test_what_is_shown_is_what_happens.hypothesis.inner_test(
            unattached_server, Dirt([], ["open_quest_with_approval"]), repair.Options(EVERYTHING, "create")
        )
