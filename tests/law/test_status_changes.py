"""A status of the app is added or removed: law, rule, manifest and log follow in one transaction, or none of them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel, errors
from pytest_postgresql.executors import NoopExecutor

from checks import ddl, guards, law, migrate
from tests.law.cases import write
from tests.law.conftest import Untouched
from tests.law.refusal import disable_triggers
from tests.law.test_statuses import CONSTRAINTS, KNOWN, MARKERS, QUIET, row, status_of
from tests.support import catalog, factory
from tests.support.database import another, prepared, target_of
from tests.support.guards import statuses as wrong_guards
from tests.support.proof import attach
from tests.support.waiting import wait_until_blocked

_Connection = psycopg.Connection[Any]

NEW = "on hold"

COUNT = "select count(*) from integrity.unknown_status"
KNOWN_NOW = "select integrity.known_statuses(%s)"
EVENTS = "select before, after from integrity.event where kind = 'statuses_changed' order by id"
SEALED = "select kind, identity, expected, definition, waiting from integrity.guard order by 1, 2"


@pytest.fixture(params=KNOWN)
def table(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def add(connection: _Connection, table: str, status: str = NEW) -> None:
    """Add a status and validate, each statement in a transaction of its own, as the command does."""
    _change(connection, "add", table, status)


def remove(connection: _Connection, table: str, status: str = NEW) -> None:
    _change(connection, "remove", table, status)


def _change(connection: _Connection, how: str, table: str, status: str) -> None:
    connection.commit()
    connection.execute(f"select integrity.{how}_status(%s, %s)".encode(), [table, status])
    connection.commit()
    connection.autocommit = True
    law.advance(connection, ddl.LockPolicy(), [CONSTRAINTS[table]])
    connection.autocommit = False


def known(connection: _Connection, table: str) -> Any:
    found = connection.execute(KNOWN_NOW, [table]).fetchone()
    assert found is not None
    return found[0]


def refused(connection: _Connection, table: str, status: str) -> str | None:
    """Return the name of the constraint that refuses a row with this status."""
    with pytest.raises(errors.CheckViolation) as refusal, connection.transaction():
        row(connection, table, status, **MARKERS[table])
    return refusal.value.diag.constraint_name


def approved_quest(connection: _Connection) -> tuple[int, Any, int]:
    """Approve somebody for a new quest: returns quest, user and application."""
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    return quest_id, user_id, factory.application(connection, quest_id, user_id, status="approved")


def assert_whole(connection: _Connection) -> None:
    """Nothing is damaged, and the guards in the database say the same."""
    connection.commit()
    assert wrong_guards(connection) == {}
    assert connection.execute("select count(*) from integrity.guard_status where status <> 'ok'").fetchone() == (0,)
    connection.commit()


@pytest.mark.parametrize("status", [NEW, "x", "NULL", "null", "a-b_C 9"])
def test_an_added_status_is_law(table: str, status: str, migrated: _Connection) -> None:
    assert refused(migrated, table, status) == CONSTRAINTS[table]

    add(migrated, table, status)
    row_id = row(migrated, table, status)
    migrated.commit()

    assert known(migrated, table) == [*KNOWN[table], status]
    assert status_of(migrated, table, row_id) == status
    assert migrated.execute(COUNT).fetchone() == (0,)
    assert refused(migrated, table, f"{status}?") == CONSTRAINTS[table]
    assert_whole(migrated)


def test_without_triggers_the_check_alone_refuses(table: str, migrated: _Connection) -> None:
    disable_triggers(migrated)
    add(migrated, table)
    row(migrated, table, NEW, **MARKERS[table])
    assert refused(migrated, table, "archived") == CONSTRAINTS[table]
    migrated.rollback()

    remove(migrated, table)
    assert refused(migrated, table, NEW) == CONSTRAINTS[table]


def test_the_check_stays_one_constant_list(table: str, migrated: _Connection) -> None:
    """PostgreSQL reads it anew for every statement of the app."""
    add(migrated, table)
    printed = migrated.execute(
        "select pg_get_expr(conbin, conrelid), convalidated from pg_constraint where conname = %s", [CONSTRAINTS[table]]
    ).fetchone()
    assert printed == (f"((status)::text = ANY ('{{{','.join(KNOWN[table])},\"{NEW}\"}}'::text[]))", True)


def test_removed_again_nothing_is_left(table: str, migrated: _Connection) -> None:
    before, sealed = catalog.snapshot(migrated), migrated.execute(SEALED).fetchall()

    add(migrated, table)
    assert catalog.changed(before, catalog.snapshot(migrated)) != {}
    remove(migrated, table)

    assert catalog.changed(before, catalog.snapshot(migrated)) == {}
    assert migrated.execute(SEALED).fetchall() == sealed
    assert_whole(migrated)
    assert refused(migrated, table, NEW) == CONSTRAINTS[table]


def test_the_manifest_is_what_a_migration_would_write(table: str, migrated: _Connection) -> None:
    add(migrated, table)
    sealed = migrated.execute(SEALED).fetchall()
    migrated.execute("select integrity.record_guards()")
    assert migrated.execute(SEALED).fetchall() == sealed


def test_an_added_status_is_no_difference_from_the_package(migrated: _Connection) -> None:
    for table in KNOWN:
        add(migrated, table)
    assert guards.differences(migrated) == []


def test_others_keep_their_places(migrated: _Connection) -> None:
    table = "quests_quest"
    for status in ("a", "b"):
        add(migrated, table, status)
    remove(migrated, table, "a")
    add(migrated, table, "c")
    assert known(migrated, table) == [*KNOWN[table], "b", "c"]
    assert_whole(migrated)


def test_each_change_is_an_event(migrated: _Connection) -> None:
    table = "applications_application"
    add(migrated, table)
    remove(migrated, table)
    with_it = {table: [*KNOWN[table], NEW]}
    assert migrated.execute(EVENTS).fetchall() == [({table: KNOWN[table]}, with_it), (with_it, {table: KNOWN[table]})]


class TestMeaning:
    def test_an_application_is_not_approved(self, migrated: _Connection) -> None:
        """It ends an approval as rejecting does."""
        add(migrated, "applications_application")
        quest_id, user_id, application_id = approved_quest(migrated)
        migrated.commit()

        write(migrated, "applications_application", application_id, status=NEW)
        migrated.commit()

        assert migrated.execute(
            "select integrity_approved from applications_application where id = %s", [application_id]
        ).fetchone() == (None,)
        assert migrated.execute(
            "select status from quests_questparticipant where (quest_id, user_id) = (%s, %s)", [quest_id, user_id]
        ).fetchone() == ("dropped",)
        assert migrated.execute("select status from quests_quest where id = %s", [quest_id]).fetchone() == ("open",)

    def test_a_participant_is_active(self, migrated: _Connection) -> None:
        add(migrated, "quests_questparticipant")
        quest_id, user_id = factory.quest(migrated), factory.user(migrated)
        participant_id = factory.participant(migrated, quest_id, user_id, status=NEW)
        migrated.commit()

        assert migrated.execute(
            "select status, assigned_to_id from quests_quest where id = %s", [quest_id]
        ).fetchone() == ("in-progress", user_id)
        assert migrated.execute(
            "select integrity_active from quests_questparticipant where id = %s", [participant_id]
        ).fetchone() == (True,)

    def test_a_participant_stays_as_it_is_when_its_approval_ends(self, migrated: _Connection) -> None:
        """As a completed one does: only a participant who is at work is dropped."""
        add(migrated, "quests_questparticipant")
        quest_id, user_id, application_id = approved_quest(migrated)
        migrated.execute("update quests_questparticipant set status = %s where quest_id = %s", [NEW, quest_id])
        migrated.commit()
        write(migrated, "applications_application", application_id, status="rejected")
        migrated.commit()
        assert migrated.execute(
            "select status from quests_questparticipant where (quest_id, user_id) = (%s, %s)", [quest_id, user_id]
        ).fetchone() == (NEW,)

    def test_a_quest_is_left_alone(self, migrated: _Connection) -> None:
        """Its status is not derived, whoever comes or goes; its assignee is."""
        add(migrated, "quests_quest")
        quest_id, user_id, application_id = approved_quest(migrated)
        write(migrated, "quests_quest", quest_id, status=NEW)
        migrated.commit()
        seen = "select status, assigned_to_id from quests_quest where id = %s"
        assert migrated.execute(seen, [quest_id]).fetchone() == (NEW, user_id)

        write(migrated, "applications_application", application_id, status="kicked")
        migrated.commit()
        assert migrated.execute(seen, [quest_id]).fetchone() == (NEW, None)

        factory.participant(migrated, quest_id, user := factory.user(migrated))
        migrated.commit()
        assert migrated.execute(seen, [quest_id]).fetchone() == (NEW, user)
        assert migrated.execute("select count(*) from integrity.violations where severity = 'error'").fetchone() == (0,)


class TestRule:
    def test_reads_what_is_known_now(self, table: str, unattached: _Connection) -> None:
        """Clean 0, lookalike 0 as soon as it is known, violated 1 until then; the audit agrees."""
        audited = "select found ->> 'status', expected -> 'status' from integrity.audit() where rule = 'unknown_status'"
        plant_status(unattached, table, QUIET[table])
        assert unattached.execute(audited).fetchall() == []
        plant_status(unattached, table, NEW)
        assert unattached.execute(audited).fetchall() == [(NEW, KNOWN[table])]
        unattached.execute("insert into integrity.status values (%s, %s, 9, false)", [table, NEW])
        assert unattached.execute(audited).fetchall() == []
        assert unattached.execute(COUNT).fetchone() == (0,)
        plant_status(unattached, table, f"{NEW}!")
        assert unattached.execute(audited).fetchall() == [(f"{NEW}!", [*KNOWN[table], NEW])]

    def test_quests_with_an_added_status_are_no_suspects(self, migrated: _Connection) -> None:
        """Else an audit would look at each of them."""
        for table in KNOWN:
            add(migrated, table)
        factory.quest(migrated, status=NEW)
        factory.application(migrated, factory.quest(migrated), factory.user(migrated), status=NEW)
        assert migrated.execute("select * from integrity.suspect_quest").fetchall() == []
        assert migrated.execute("select * from integrity.suspect_pair").fetchall() == []

    def test_a_quest_with_an_added_status_is_a_suspect_when_it_breaks_a_rule(self, unattached: _Connection) -> None:
        unattached.execute("insert into integrity.status values ('quests_quest', %s, 9, false)", [NEW])
        quest_id = factory.quest(unattached, status=NEW)
        factory.participant(unattached, quest_id, factory.user(unattached))
        found = unattached.execute("select rule from integrity.audit() where severity = 'error'").fetchall()
        assert found == [("unassigned_quest_with_participant",)]


@pytest.fixture
def adopted_with_it(table: str, app_only_server: NoopExecutor) -> Iterator[tuple[_Connection, int]]:
    """Yield a database that had a row with the new status when it was adopted, and the row's id."""

    def adopt(connection: _Connection) -> int:
        row_id = plant_status(connection, table, NEW)
        attach(connection)
        return row_id

    with prepared(app_only_server, f"with_it_{table}", adopt) as found:
        yield found


class TestOldRows:
    """On a database whose CHECK waits, because old rows have statuses that nobody knew."""

    def test_with_their_status_added_the_check_is_attached(
        self, table: str, adopted_with_it: tuple[_Connection, int]
    ) -> None:
        connection, row_id = adopted_with_it
        assert law.advance(self.autocommit(connection), ddl.LockPolicy()) != []

        connection.autocommit = False
        add(connection, table)

        assert law.advance(self.autocommit(connection), ddl.LockPolicy()) == []
        assert status_of(connection, table, row_id) == NEW
        assert {guard.identity for guard in guards.read(connection) if guard.status != "ok"} == set()

    def test_with_another_added_the_stand_in_knows_it(
        self, table: str, adopted_with_it: tuple[_Connection, int]
    ) -> None:
        connection, row_id = adopted_with_it
        add(connection, table, "paused")

        assert connection.execute(COUNT).fetchone() == (1,)
        row(connection, table, "paused")
        with pytest.raises(errors.CheckViolation) as refusal, connection.transaction():
            row(connection, table, NEW)
        assert refusal.value.diag.constraint_name == CONSTRAINTS[table]
        assert ", ".join([*KNOWN[table], "paused"]) in (refusal.value.diag.message_hint or "")
        # And an old row can be saved.
        write(connection, table, row_id, status=NEW)
        connection.commit()
        assert [guard.damage for guard in guards.read(connection) if guard.status != "ok"] == [False]
        assert law.advance(self.autocommit(connection), ddl.LockPolicy()) != []

    def test_a_downgrade_puts_the_stand_in_back_as_it_was(
        self, table: str, adopted_with_it: tuple[_Connection, int]
    ) -> None:
        connection, _ = adopted_with_it
        add(connection, table)
        add(connection, table, "paused")
        migrate_down_and_up(connection)
        assert known(connection, table) == [*KNOWN[table], NEW, "paused"]
        row(connection, table, "paused")
        connection.commit()
        assert law.advance(self.autocommit(connection), ddl.LockPolicy()) == []
        assert {guard.identity for guard in guards.read(connection) if guard.status != "ok"} == set()

    def autocommit(self, connection: _Connection) -> _Connection:
        connection.commit()
        connection.autocommit = True
        return connection


def plant_status(connection: _Connection, table: str, status: str) -> int:
    """Insert a row with this status where there is no law yet, and next to it, as in a live app, a usual one."""
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    if table == "quests_quest":
        return factory.quest(connection, status=status)
    if table == "applications_application":
        factory.application(connection, quest_id, factory.user(connection))
        return factory.application(connection, quest_id, user_id, status=status)
    factory.participant(connection, quest_id, factory.user(connection), status="dropped")
    write(connection, "quests_quest", quest_id, status="in-progress", assigned_to_id=user_id)
    return factory.participant(connection, quest_id, user_id, status=status)


def migrate_down_and_up(connection: _Connection) -> None:
    connection.commit()
    migrate.downgrade(target_of(connection), "0008_approval_key")
    migrate.upgrade(target_of(connection))


class TestRefused:
    """With one sentence, and nothing changes."""

    @pytest.mark.parametrize(
        ("statement", "error", "said"),
        [
            ("add_status('applications_application', 'pending')", errors.DuplicateObject, "known already"),
            (
                "add_status('applications', 'withdrawn')",
                errors.InvalidParameterValue,
                "there is no table 'applications'",
            ),
            ("add_status('users_user', 'withdrawn')", errors.InvalidParameterValue, "there is no table 'users_user'"),
            ("add_status(null, 'withdrawn')", errors.InvalidParameterValue, "there is no table NULL"),
            ("add_status('quests_quest', null)", errors.InvalidParameterValue, "NULL is no status"),
            ("add_status('quests_quest', '')", errors.InvalidParameterValue, "'' is no status"),
            ("add_status('quests_quest', ' ')", errors.InvalidParameterValue, "' ' is no status"),
            ("add_status('quests_quest', 'open ')", errors.InvalidParameterValue, "'open ' is no status"),
            ("add_status('quests_quest', '-')", errors.InvalidParameterValue, "'-' is no status"),
            ("add_status('quests_quest', 'it''s')", errors.InvalidParameterValue, "'it''s' is no status"),
            ("add_status('quests_quest', 'a\"b')", errors.InvalidParameterValue, "is no status"),
            ("add_status('quests_quest', 'a,b')", errors.InvalidParameterValue, "is no status"),
            ("add_status('quests_quest', '{a}')", errors.InvalidParameterValue, "is no status"),
            ("add_status('quests_quest', 'a\\b')", errors.InvalidParameterValue, "is no status"),
            ("add_status('quests_quest', 'a%b')", errors.InvalidParameterValue, "is no status"),
            ("add_status('quests_quest', E'a\\nb')", errors.InvalidParameterValue, "is no status"),
            ("add_status('quests_quest', E'ab\\n')", errors.InvalidParameterValue, "is no status"),
            ("add_status('quests_quest', 'sixteen_letters_')", errors.InvalidParameterValue, "holds 15 characters"),
            ("remove_status('quests_quest', 'withdrawn')", errors.UndefinedObject, "has no known status 'withdrawn'"),
            ("remove_status('quests_quest', null)", errors.UndefinedObject, "has no known status NULL"),
            ("remove_status('quests', 'open')", errors.InvalidParameterValue, "there is no table 'quests'"),
        ],
    )
    def test_what_cannot_be(self, statement: str, error: type[psycopg.Error], said: str, untouched: Untouched) -> None:
        with pytest.raises(error, match=said) as refusal, untouched.connection.transaction():
            untouched.connection.execute(f"select integrity.{statement}".encode())
        assert refusal.value.diag.message_hint
        untouched.connection.commit()
        assert untouched.changes() == {}

    @pytest.mark.parametrize(
        ("table", "status"), [(table, status) for table, known in KNOWN.items() for status in known]
    )
    def test_what_the_layer_works_with_stays(self, table: str, status: str, untouched: Untouched) -> None:
        with pytest.raises(errors.ObjectNotInPrerequisiteState, match="stays: the layer itself works with it"):
            untouched.connection.execute("select integrity.remove_status(%s, %s)", [table, status])

    def test_what_rows_have_stays(self, table: str, migrated: _Connection) -> None:
        add(migrated, table)
        row(migrated, table, NEW)
        migrated.commit()
        before = catalog.snapshot(migrated)
        with (
            pytest.raises(errors.DependentObjectsStillExist, match=f"stays: 1 rows of {table} have it"),
            migrated.transaction(),
        ):
            migrated.execute("select integrity.remove_status(%s, %s)", [table, NEW])
        assert catalog.changed(before, catalog.snapshot(migrated)) == {}
        assert_whole(migrated)

    @pytest.mark.parametrize(
        "tampering",
        [
            "insert into integrity.status values ('quests_quest', 'planted', 4, false)",
            "delete from integrity.status where status = 'completed' and relation = 'quests_quest'",
            "update integrity.status set built_in = false where status = 'open'",
            "update integrity.law set definition = 'check (true)' where name = 'integrity_quest_status_known'",
            "update integrity.guard set definition = null where identity like 'integrity_quest_key on %'",
            "delete from integrity.guard where kind = 'manifest'",
        ],
    )
    def test_what_somebody_changed_by_hand_is_not_sealed(self, tampering: str, migrated: _Connection) -> None:
        migrated.execute(tampering.encode())
        migrated.commit()
        with pytest.raises(errors.ObjectNotInPrerequisiteState, match="not as the manifest has them"):
            migrated.execute("select integrity.add_status('applications_application', %s)", [NEW])
        migrated.rollback()
        assert any(guard.damage for guard in guards.read(migrated))

    def test_other_damage_stays_damage(self, migrated: _Connection) -> None:
        migrated.execute("alter table quests_quest disable trigger integrity_mark")
        add(migrated, "quests_quest")
        assert wrong_guards(migrated) == {"trigger integrity_mark on public.quests_quest": "disabled"}


class TestTampering:
    """Rows of integrity.status are sealed as those of integrity.law are."""

    @pytest.mark.parametrize(
        ("tampering", "found"),
        [
            ("insert into integrity.status values ('quests_quest', 'planted', 4, false)", "unexpected object"),
            ("delete from integrity.status where relation = 'quests_quest' and status = 'open'", "missing"),
            ("update integrity.status set position = 9 where relation = 'quests_quest' and status = 'open'", "altered"),
        ],
    )
    def test_is_seen_and_mended(self, tampering: str, found: str, migrated: _Connection) -> None:
        add(migrated, "quests_quest")
        migrated.execute(tampering.encode())
        migrated.commit()
        (damage,) = guards.damaged(migrated)
        assert (damage.kind, damage.status) == ("row", found)
        migrated.commit()
        migrated.autocommit = True
        assert [guard for guard in guards.mend(migrated, ddl.LockPolicy()) if guard.status != "ok"] == []

    def test_a_dropped_check_comes_back_with_the_added_status(self, table: str, migrated: _Connection) -> None:
        add(migrated, table)
        migrated.execute(f"alter table {table} drop constraint {CONSTRAINTS[table]}".encode())
        migrated.commit()
        migrated.autocommit = True
        assert [guard for guard in guards.mend(migrated, ddl.LockPolicy()) if guard.status != "ok"] == []
        with another(migrated) as app:
            row(app, table, NEW)
            assert refused(app, table, "archived") == CONSTRAINTS[table]


class TestTwoSessions:
    def test_changes_wait_for_each_other(self, migrated: _Connection) -> None:
        with another(migrated) as first, another(migrated) as second:
            first.execute("select integrity.add_status('quests_quest', 'a')")
            second.execute("set lock_timeout = '200ms'")
            with pytest.raises(errors.LockNotAvailable):
                second.execute("select integrity.add_status('applications_application', 'b')")
            second.rollback()
            # Whoever only reads does not, but for the locked table itself.
            assert second.execute("select count(*) from integrity.status").fetchone() == (11,)
            second.rollback()
            first.commit()
            second.execute("select integrity.add_status('quests_quest', 'b')")
            second.commit()
        assert known(migrated, "quests_quest") == [*KNOWN["quests_quest"], "a", "b"]

    def test_a_writer_in_the_way_is_waited_for_and_served(self, migrated: _Connection) -> None:
        quest_id = factory.quest(migrated)
        migrated.commit()
        with another(migrated) as writer, another(migrated) as owner, another(migrated, autocommit=True) as observer:
            write(writer, "quests_quest", quest_id, title="held")
            owner.execute("set lock_timeout = '200ms'")
            with pytest.raises(errors.LockNotAvailable):
                owner.execute("select integrity.add_status('quests_quest', 'a')")
            owner.rollback()
            assert wait_until_nobody_waits(observer)
            writer.commit()
        assert known(migrated, "quests_quest") == KNOWN["quests_quest"]
        assert_whole(migrated)

    @pytest.mark.parametrize("committed", [True, False], ids=["committed", "rolled back"])
    def test_a_row_written_before_it_is_removed_keeps_the_status(
        self, committed: bool, table: str, migrated: _Connection
    ) -> None:
        add(migrated, table)
        before = catalog.snapshot(migrated)
        with (
            another(migrated) as writer,
            another(migrated) as owner,
            another(migrated, autocommit=True) as observer,
            ThreadPoolExecutor(1) as worker,
        ):
            row(writer, table, NEW)
            removing = worker.submit(owner.execute, "select integrity.remove_status(%s, %s)", [table, NEW])
            wait_until_blocked(observer, owner.info.backend_pid)
            if committed:
                writer.commit()
                with pytest.raises(errors.DependentObjectsStillExist, match=f"1 rows of {table} were given it"):
                    removing.result(timeout=60)
                owner.rollback()
            else:
                writer.rollback()
                removing.result(timeout=60)
                owner.commit()
        assert (NEW in known(migrated, table)) == committed
        if committed:
            assert catalog.changed(before, catalog.snapshot(migrated)) == {}
            assert_whole(migrated)

    @pytest.mark.parametrize("level", [IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE])
    def test_none_is_removed_with_an_old_snapshot(self, level: IsolationLevel, migrated: _Connection) -> None:
        add(migrated, "quests_quest")
        with another(migrated) as owner:
            owner.isolation_level = level
            with pytest.raises(errors.ObjectNotInPrerequisiteState, match="cannot be removed at "):
                owner.execute("select integrity.remove_status('quests_quest', %s)", [NEW])


def wait_until_nobody_waits(observer: _Connection) -> bool:
    return observer.execute("select count(*) from pg_locks where not granted").fetchone() == (0,)


def test_downgrade_leaves_nothing(migrated: _Connection) -> None:
    add(migrated, "quests_quest")
    migrated.commit()
    migrate.downgrade(target_of(migrated), "base", ["drop-records=true"])
    assert migrated.execute("select to_regnamespace('integrity')").fetchone() == (None,)
