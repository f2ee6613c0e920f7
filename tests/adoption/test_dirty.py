"""A live database with every rule broken: adopted as it is, repaired when somebody asks, then enforced in full."""

from typing import Any

import psycopg
import pytest
from psycopg import errors

from checks import ddl, migrate
from tests.support import factory, plant
from tests.support.database import target_of
from tests.support.plant import Planted
from tests.support.proof import assert_planted, enforce, places, repair, rules_broken
from tests.support.revisions import app_rows, wrong_markers

_Connection = psycopg.Connection[Any]

# Statuses that only a person can settle, and keep the CHECKs on statuses away.
SETTLE_STATUSES = {
    "applications_application": ("pending", ["pending", "approved", "rejected", "kicked"]),
    "quests_questparticipant": ("joined", ["joined", "in_progress", "completed", "dropped"]),
    "quests_quest": ("open", ["open", "in-progress", "completed"]),
}


def _states(connection: _Connection) -> dict[str, str]:
    return dict(connection.execute("select name, state from integrity.law_status where chosen is null").fetchall())


def _settle_statuses(connection: _Connection) -> None:
    for table, (known, all_known) in SETTLE_STATUSES.items():
        connection.execute(f"update {table} set status = %s where status <> all(%s)", [known, all_known])


def test_nothing_is_healed_and_everything_shows(
    dirty: _Connection, planted: list[Planted], capfd: pytest.CaptureFixture[str]
) -> None:
    before = app_rows(dirty)

    migrate.upgrade(target_of(dirty))

    assert app_rows(dirty) == before
    assert wrong_markers(dirty) == {}
    assert_planted(dirty, *planted)
    assert set(rules_broken(dirty)) == set(plant.RULES)
    # Whoever ran it is told how much is broken, and what is not enforced because of it.
    errors_found = dirty.execute("select count(*) from integrity.violations where severity = 'error'").fetchone()
    assert errors_found is not None
    warnings = [line for line in capfd.readouterr().err.splitlines() if line.startswith("warning:")]
    assert str(errors_found[0]) in " ".join(warnings)
    for name, state in _states(dirty).items():
        assert (name in " ".join(warnings)) == (state != "enforced")


def test_the_law_goes_as_far_as_the_rows_allow(dirty: _Connection) -> None:
    """What no row breaks is enforced at once; the rest is attached for new rows, or waits until it can be."""
    migrate.upgrade(target_of(dirty))
    broken = set(rules_broken(dirty))
    found = dirty.execute(
        "select law_status.name, state, law_status.waits, rules, requires, convalidated from integrity.law_status"
        " left join pg_constraint on conname = law_status.name where law_status.chosen is null"
    ).fetchall()
    states = {name: state for name, state, *_ in found}
    for name, state, waits, rules, requires, validated in found:
        if requires is not None and states[requires] != "enforced":
            assert (state, validated) == ("waiting", None), name
        elif not broken & set(rules):
            assert (state, validated) == ("enforced", True), name
        elif waits:
            assert (state, validated) == ("missing", None), name
        else:
            assert (state, validated) == ("not validated", False), name
    assert set(states.values()) == {"enforced", "missing", "not validated", "waiting"}


def test_repaired_it_is_enforced_in_full(dirty: _Connection) -> None:
    migrate.upgrade(target_of(dirty))
    outcomes = repair(dirty)
    assert set(outcomes.values()) <= {"repaired", "gone"}

    # What is left is for a person, and says so.
    remaining = enforce(dirty)
    assert {rule for each in remaining for rule in each.rules} == {"unknown_status"}
    _settle_statuses(dirty)
    assert enforce(dirty) == []

    assert set(_states(dirty).values()) == {"enforced"}
    assert dirty.execute("select conname from pg_constraint where not convalidated").fetchall() == []
    assert {severity for (severity,) in dirty.execute("select distinct severity from integrity.violations")} == {
        "warning"
    }
    assert wrong_markers(dirty) == {}


def test_repair_loses_no_row_that_others_refer_to(dirty: _Connection) -> None:
    """Badges of a participant that was there twice go on to the one that stays."""
    migrate.upgrade(target_of(dirty))
    before = dirty.execute("select id, quest_id from rewards.badge order by id").fetchall()
    repair(dirty)
    after = dirty.execute(
        "select badge.id, badge.quest_id from rewards.badge"
        " join quests_questparticipant as participant on participant.id = badge.quest_participant_id"
        " and participant.quest_id = badge.quest_id order by badge.id"
    ).fetchall()
    assert after == before


def test_enforcing_can_be_stopped_after_any_step(dirty: _Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run gets one step further and is then interrupted; nothing is done twice, nothing left out."""
    migrate.upgrade(target_of(dirty))
    repair(dirty)
    _settle_statuses(dirty)
    run = ddl.run
    done: list[str] = []

    def once(connection: _Connection, statement: str, policy: ddl.LockPolicy) -> None:
        if done and done[-1] is interrupt:
            raise KeyboardInterrupt
        run(connection, statement, policy)
        done.extend([statement, interrupt])

    interrupt = "interrupted"
    monkeypatch.setattr(ddl, "run", once)
    interruptions = 0
    while True:
        try:
            assert enforce(dirty) == []
            break
        except KeyboardInterrupt:
            done.pop()
            interruptions += 1
    steps = [step for step in done if step is not interrupt]
    assert len(steps) == len(set(steps))
    assert interruptions == len(steps) - 1 > 5
    assert set(_states(dirty).values()) == {"enforced"}


def test_new_rows_obey_what_is_attached(dirty: _Connection) -> None:
    """The violated foreign keys and CHECKs are not validated, and hold for whoever writes from now on."""
    migrate.upgrade(target_of(dirty))
    for name, state in _states(dirty).items():
        if state != "not validated":
            continue
        row = dirty.execute("select contype from pg_constraint where conname = %s", [name]).fetchone()
        assert row is not None
    dirty.execute("alter table quests_quest disable trigger user")
    with pytest.raises(errors.CheckViolation) as refusal:
        factory.quest(dirty, status="in-progress")
    assert refusal.value.diag.constraint_name == "integrity_status_matches_assignment"


def test_upgraded_again_it_stays_as_it_is(dirty: _Connection, planted: list[Planted]) -> None:
    migrate.upgrade(target_of(dirty))
    states, rows = _states(dirty), app_rows(dirty)
    migrate.upgrade(target_of(dirty))
    assert (_states(dirty), app_rows(dirty)) == (states, rows)
    assert {each.place for each in planted} <= places(dirty)


def test_one_rule_at_a_time(dirty: _Connection) -> None:
    """Repairing some lets what stands on them be enforced, and only that; the rest is named."""
    migrate.upgrade(target_of(dirty))
    (run,) = dirty.execute("select integrity.start_repair('test', '{}')").fetchone() or (None,)
    dirty.execute("select integrity.plan_repair(%s, array['duplicate_approval'], null, null, null)", [run])
    dirty.execute("select integrity.repair_batch(%s, 100)", [run])

    before = _states(dirty)
    remaining = {each.name for each in enforce(dirty)}

    after = _states(dirty)
    assert {name for name in after if after[name] != before[name]} == {"integrity_approved_application_key"}
    assert remaining == {name for name, state in after.items() if state != "enforced"}
