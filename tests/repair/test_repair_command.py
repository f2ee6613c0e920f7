"""quest-integrity audit --fix-issues: what it asks, repairs, records, and leaves when it is stopped."""

import json
import signal
from typing import Any

import psycopg
import pytest

from tests.support import factory
from tests.support.cli import Ran, Terminal, blocked, finish, run, spawn
from tests.support.database import another, url_of

_Connection = psycopg.Connection[Any]
# What the incident's states need; tests/repair/test_who_left.py has what happens without.
CREATE = ("--missing-participant", "create")
ANSWER = r"\[y/N\]"


def fix(connection: _Connection, *arguments: object) -> Ran:
    return run(connection, "audit", "--fix-issues", "--yes", *CREATE, *arguments)


def errors(connection: _Connection) -> int:
    return sum(
        count
        for (count,) in connection.execute(
            "select violations from integrity.violation_summary where severity = 'error'"
        )
    )


def items(connection: _Connection) -> list[tuple[Any, ...]]:
    """Return rule, quest and outcome of every item of every run, in order."""
    found = connection.execute(
        "select rule, quest_id, outcome from integrity.repair_item order by run, number"
    ).fetchall()
    connection.rollback()
    return found


def one(connection: _Connection, query: str, *parameters: object) -> Any:
    row = connection.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return row[0]


def unassigned_quests(connection: _Connection) -> list[int]:
    """Return the quests of AUDIT-001 that are assigned to nobody, in the order of their repair."""
    rows = connection.execute("select quest_id from integrity.unassigned_quest_with_participant order by quest_id")
    return [quest_id for (quest_id,) in rows]


class TestWhatIsRepaired:
    def test_everything_that_has_a_repair(self, dirty: _Connection) -> None:
        repairable = one(dirty, "select count(*) from integrity.violations where repair is not null")
        assert repairable > 8
        assert fix(dirty).code == 1
        assert one(dirty, "select count(*) from integrity.violations where repair is not null") == 0
        assert one(dirty, "select count(*) from integrity.violations where rule = 'unknown_status'") == 3
        # What the repair of another violation has already put right is gone when its turn comes.
        assert {outcome for *_, outcome in items(dirty)} == {"repaired", "gone"}

    def test_what_was_repaired_and_broken_again(self, sync_001: _Connection) -> None:
        """The same violation is an item of two runs."""
        assert fix(sync_001).code == 0
        first = items(sync_001)
        sync_001.execute("set session_replication_role = replica")
        assert sync_001.execute("delete from quests_questparticipant returning id").fetchall()
        sync_001.commit()
        assert fix(sync_001).code == 0
        assert {item for item in items(sync_001)[len(first) :] if item in first}
        assert errors(sync_001) == 0

    def test_nothing_to_do(self, migrated: _Connection) -> None:
        assert fix(migrated).code == 0
        run_row = migrated.execute("select finished_at is not null from integrity.repair_run").fetchall()
        assert run_row == [(True,)]

    def test_of_a_rule(self, dirty: _Connection) -> None:
        fix(dirty, "--rule", "duplicate_approval", "--rule", "assignee_not_participant")
        assert {rule for rule, *_ in items(dirty)} == {"duplicate_approval", "assignee_not_participant"}

    def test_of_a_quest(self, audit_001: _Connection) -> None:
        quest_id = unassigned_quests(audit_001)[0]
        assert fix(audit_001, "--quest", quest_id).code == 0
        assert [quest for _, quest, _ in items(audit_001)] == [quest_id]
        assert errors(audit_001) == 4

    def test_of_a_user(self, audit_001: _Connection) -> None:
        assert fix(audit_001, "--user", "student2").code == 0
        assert len(items(audit_001)) == 3
        assert errors(audit_001) == 2
        assert fix(audit_001, "--user", "student2").code == 0
        assert len(items(audit_001)) == 3

    def test_at_most(self, audit_001: _Connection) -> None:
        assert fix(audit_001, "--limit", 2).code == 1
        assert len(items(audit_001)) == 2
        assert errors(audit_001) == 3

    @pytest.mark.parametrize("size", [1, 2, 500])
    def test_in_batches_of_one_transaction_each(self, audit_001: _Connection, size: int) -> None:
        fix(audit_001, "--batch-size", size)
        transactions = one(audit_001, "select count(distinct xmin::text) from integrity.repair_item")
        # A batch is of one rule: three of one and two of another.
        assert transactions == {1: 5, 2: 3, 500: 2}[size]
        assert errors(audit_001) == 0

    def test_missing_participants_can_be_revoked(self, sync_001: _Connection) -> None:
        assert fix(sync_001, "--missing-participant", "revoke").code == 0
        assert one(sync_001, "select status from applications_application where quest_id = 5") == "kicked"
        assert one(sync_001, "select count(*) from quests_questparticipant where quest_id = 5") == 0
        assert one(sync_001, "select status from quests_quest where id = 5") == "open"
        assert one(sync_001, "select options from integrity.repair_run") == {"missing_participant": "revoke"}

    def test_who_and_why_are_kept(self, sync_001: _Connection) -> None:
        fix(sync_001, "--reason", "SYNC-001, ticket 7")
        row = sync_001.execute(
            "select kind, reason, actor = session_user, finished_at >= started_at from integrity.repair_run"
        )
        assert row.fetchall() == [("repair", "SYNC-001, ticket 7", True, True)]
        listed = run(sync_001, "repairs")
        assert listed.code == 0
        assert "SYNC-001, ticket 7" in listed.out


class TestPreview:
    def test_changes_nothing(self, dirty: _Connection) -> None:
        before = dirty.execute(
            "select to_jsonb(violation) from integrity.violations as violation order by key"
        ).fetchall()
        ran = run(dirty, "audit", "--fix-issues", "--dry-run", *CREATE)
        assert ran.code == 1
        assert (
            before
            == dirty.execute(
                "select to_jsonb(violation) from integrity.violations as violation order by key"
            ).fetchall()
        )
        for table in ("repair_run", "repair_item", "repair_change"):
            assert one(dirty, f"select count(*) from integrity.{table}") == 0

    def test_shows_what_the_triggers_do_in_consequence(self, sync_001: _Connection) -> None:
        ran = run(sync_001, "audit", "--fix-issues", "--dry-run", *CREATE, "--format", "json")
        changes = {change["relation"]: change for change in json.loads(ran.out)["changes"]}
        assert set(changes) == {"public.quests_questparticipant", "public.quests_quest"}
        quest = changes["public.quests_quest"]
        assert (quest["before"]["status"], quest["after"]["status"]) == ("open", "in-progress")
        assert (quest["before"]["assigned_to_id"], quest["after"]["assigned_to_id"]) == (
            None,
            "483ab258-e434-44f3-9da2-73409dd55f55",
        )
        assert changes["public.quests_questparticipant"]["before"] is None

    def test_of_a_terminal_names_the_columns(self, sync_001: _Connection) -> None:
        out = run(sync_001, "audit", "--fix-issues", "--dry-run", *CREATE).out
        rows = [line.split() for line in out.splitlines()]
        assert ["public.quests_quest", "id", "5", "status", "open", "in-progress"] in rows
        assert ["assigned_to_id", "483ab258-e434-44f3-9da2-73409dd55f55"] in rows


class TestAsking:
    def test_yes(self, audit_001: _Connection) -> None:
        audit_001.commit()
        terminal = Terminal(url_of(audit_001), "audit", "--fix-issues", *CREATE)
        terminal.expect(ANSWER)
        assert terminal.answer("y") == 0
        assert errors(audit_001) == 0

    @pytest.mark.parametrize("answer", ["n", "", "\x04"], ids=["no", "nothing", "end of file"])
    def test_no(self, audit_001: _Connection, answer: str) -> None:
        audit_001.commit()
        terminal = Terminal(url_of(audit_001), "audit", "--fix-issues", *CREATE)
        terminal.expect(ANSWER)
        assert terminal.answer(answer) == 2
        assert errors(audit_001) == 5
        assert items(audit_001) == []

    def test_not_when_there_is_nothing_to_repair(self, migrated: _Connection) -> None:
        migrated.commit()
        assert Terminal(url_of(migrated), "audit", "--fix-issues").finish() == 0

    def test_not_with_yes_or_for_a_preview(self, audit_001: _Connection) -> None:
        audit_001.commit()
        assert Terminal(url_of(audit_001), "audit", "--fix-issues", "--dry-run", *CREATE).finish() == 1
        assert Terminal(url_of(audit_001), "audit", "--fix-issues", "--yes", *CREATE).finish() == 0

    @pytest.mark.parametrize("stdin", [None, "y\n"])
    def test_nobody_elsewhere(self, audit_001: _Connection, stdin: str | None) -> None:
        ran = run(audit_001, "audit", "--fix-issues", *CREATE, stdin=stdin)
        assert (ran.code, ran.out) == (2, "")
        assert items(audit_001) == []


class TestOthersAtTheSameTime:
    """Each test holds the lock of the second quest to be repaired, so that the command waits for it."""

    FIX = (
        "audit",
        "--fix-issues",
        "--yes",
        *CREATE,
        "--batch-size",
        "1",
        "--rule",
        "unassigned_quest_with_participant",
    )

    @pytest.fixture
    def lock(self, audit_001: _Connection) -> str:
        found = f"select from quests_quest where id = {unassigned_quests(audit_001)[1]} for update"
        audit_001.commit()
        return found

    def test_what_is_gone_meanwhile_is_left_alone(self, audit_001: _Connection, lock: str) -> None:
        first, second = unassigned_quests(audit_001)
        with (
            another(audit_001) as holder,
            blocked(holder, audit_001, lock, *self.FIX) as process,
        ):
            holder.execute("delete from quests_questparticipant where quest_id = %s", [second])
            holder.commit()
            ran = finish(process)
        assert ran.code == 0
        assert [(quest, outcome) for _, quest, outcome in items(audit_001)] == [(first, "repaired"), (second, "gone")]
        assert one(audit_001, "select status from quests_quest where id = %s", second) == "open"

    def test_an_interrupt_ends_it_after_the_batch(self, audit_001: _Connection, lock: str) -> None:
        with (
            another(audit_001) as holder,
            blocked(holder, audit_001, lock, *self.FIX[:-2]) as process,
        ):
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            while "interrupt again" not in process.stderr.readline():
                pass
            holder.rollback()
            ran = finish(process)
        assert ran.code == 0
        assert "5 of 5 violations" in ran.err
        assert [outcome for *_, outcome in items(audit_001)] == ["repaired"] * 5

    def test_an_interrupt_says_where_it_stopped_and_the_next_run_goes_on(self, audit_001: _Connection) -> None:
        quest_id = one(audit_001, "select min(quest_id) from integrity.approved_without_participant")
        audit_001.commit()
        with (
            another(audit_001) as holder,
            blocked(
                holder, audit_001, f"select from quests_quest where id = {quest_id} for update", *self.FIX[:-2]
            ) as process,
        ):
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            while "interrupt again" not in process.stderr.readline():
                pass
            holder.rollback()
            ran = finish(process)
        assert ran.code == 1
        assert "1 of 5 violations" in ran.err
        assert [outcome for *_, outcome in items(audit_001)] == ["repaired", None, None, None, None]
        assert "stopped, 4 to do" in run(audit_001, "repairs").out
        assert fix(audit_001).code == 0
        assert errors(audit_001) == 0

    def test_a_second_interrupt_stops_at_once_with_nothing_half_done(self, audit_001: _Connection, lock: str) -> None:
        with (
            another(audit_001) as holder,
            blocked(holder, audit_001, lock, *self.FIX) as process,
        ):
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            while "interrupt again" not in process.stderr.readline():
                pass
            process.send_signal(signal.SIGINT)
            ran = finish(process)
            assert ran.code == 130
            assert "Traceback" not in ran.err
        assert [outcome for *_, outcome in items(audit_001)] == ["repaired", None]
        assert len(unassigned_quests(audit_001)) == 1

    @pytest.mark.parametrize("mode", ["--yes", "--dry-run"])
    def test_a_lost_connection(self, audit_001: _Connection, lock: str, mode: str) -> None:
        arguments = [mode if argument == "--yes" else argument for argument in self.FIX]
        with (
            another(audit_001) as holder,
            blocked(holder, audit_001, lock, *arguments) as process,
        ):
            audit_001.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'quest-integrity'"
                " and datname = current_database()"
            )
            ran = finish(process)
        assert (ran.code, ran.out) == (2, "")
        assert "57P01" in ran.err
        assert "Traceback" not in ran.err
        done = [outcome for *_, outcome in items(audit_001)]
        assert done == (["repaired", None] if mode == "--yes" else [])
        assert len(unassigned_quests(audit_001)) == (1 if mode == "--yes" else 2)

    def test_a_deadlock_costs_one_batch_another_try(self, audit_001: _Connection) -> None:
        audit_001.execute("create sequence attempt")
        audit_001.execute(
            "create function lose_once() returns trigger language plpgsql as $$ begin"
            " if nextval('public.attempt') = 1 then raise 'lost' using errcode = 'deadlock_detected'; end if;"
            " return new; end $$"
        )
        audit_001.execute(
            "create trigger lose_once before update on quests_quest for each row execute function lose_once()"
        )
        assert fix(audit_001, "--rule", "unassigned_quest_with_participant").code == 0
        assert [outcome for *_, outcome in items(audit_001)] == ["repaired", "repaired"]
        assert one(audit_001, "select last_value from attempt") > 2

    def test_a_deadlock_that_comes_back_every_time(
        self, audit_001: _Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("checks.repair.BATCH_ATTEMPTS", 2)
        audit_001.execute(
            "create function lose() returns trigger language plpgsql as $$ begin"
            " raise 'lost' using errcode = 'deadlock_detected'; end $$"
        )
        audit_001.execute("create trigger lose before update on quests_quest for each row execute function lose()")
        ran = fix(audit_001)
        assert (ran.code, ran.out) == (2, "")
        assert "40P01" in ran.err


class TestWhatTheLawRefuses:
    def test_is_left_with_the_constraint_s_name_and_costs_the_others_nothing(self, audit_001: _Connection) -> None:
        """A constraint of the app's own stands in the way of one of three."""
        middle = audit_001.execute(
            "select application_id, quest_id from integrity.approved_without_participant order by key"
        ).fetchall()[1]
        audit_001.execute(
            "alter table quests_questparticipant add constraint not_this_quest"
            f" check (quest_id <> {middle[1]}) not valid"
        )
        ran = fix(audit_001)
        assert ran.code == 1
        outcomes = {
            quest: outcome for rule, quest, outcome in items(audit_001) if rule == "approved_without_participant"
        }
        assert sorted(outcomes.values()) == ["refused", "repaired", "repaired"]
        assert outcomes[middle[1]] == "refused"
        assert f"approved_without_participant:application={middle[0]}" in ran.out
        assert "not_this_quest" in ran.out
        assert one(audit_001, "select count(*) from integrity.repair_item where detail = 'not_this_quest'") == 1

    def test_an_error_that_is_no_constraint_ends_the_run_in_one_sentence(self, audit_001: _Connection) -> None:
        audit_001.execute(
            "create function refuse() returns trigger language plpgsql as $$ begin raise 'closed today'; end $$"
        )
        audit_001.execute("create trigger refuse before update on quests_quest for each row execute function refuse()")
        ran = fix(audit_001)
        assert (ran.code, ran.out) == (2, "")
        assert "P0001" in ran.err


def test_a_rule_that_needs_another_s_repair_first(sync_001: _Connection) -> None:
    """The quest is open because nobody takes part; without that rule there is nothing to derive it from."""
    ran = fix(sync_001, "--rule", "open_quest_with_approval")
    assert ran.code == 1
    assert items(sync_001) == [("open_quest_with_approval", 5, "refused")]
    assert "open_quest_with_approval:quest=5  it needs" in ran.out
    assert fix(sync_001, "--rule", "open_quest_with_approval", "--rule", "approved_without_participant").code == 0


def test_a_lock_on_another_quest_is_no_reason_to_wait(audit_001: _Connection) -> None:
    quest_id = factory.quest(audit_001)
    audit_001.commit()
    with another(audit_001) as holder:
        holder.execute("select from quests_quest where id = %s for update", [quest_id])
        assert finish(spawn(url_of(audit_001), "audit", "--fix-issues", "--yes", *CREATE)).code == 0


def test_duplicates_with_a_reference_that_cannot_be_repointed(dirty: _Connection) -> None:
    """A table that allows one row per participant: nothing is lost, the constraint is named."""
    first, second = dirty.execute(
        "select (found -> 'ids' ->> 0)::bigint, (found -> 'ids' ->> 1)::bigint from integrity.duplicate_participant"
    ).fetchone() or (0, 0)
    dirty.execute(
        "create table certificate (number integer, participant_id bigint constraint one_certificate unique"
        " references quests_questparticipant (id))"
    )
    dirty.execute("insert into certificate values (1, %s), (2, %s)", [first, second])
    ran = fix(dirty, "--rule", "duplicate_participant")
    assert ran.code == 1
    assert "one_certificate" in ran.out
    assert dirty.execute("select participant_id from certificate order by number").fetchall() == [(first,), (second,)]


def test_nothing_to_repair_or_undo(migrated: _Connection) -> None:
    for dry_run in ([], ["--dry-run"]):
        repaired = run(migrated, "audit", "--fix-issues", "--yes", *dry_run)
        assert repaired.code == 0
        assert "nothing to repair" in repaired.err
        assert "refused by" not in repaired.out
        assert "still there" not in repaired.err
    undone = run(migrated, "undo", 1)
    assert (undone.code, undone.out) == (0, "")
    assert "nothing to undo: run 1 changed no row" in undone.err
