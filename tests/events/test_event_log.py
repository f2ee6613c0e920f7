"""The event log: what it says, that nobody can take it back, and how old months go."""

import os
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.rows import dict_row, scalar_row

from checks.engine import find_binaries
from tests.django_app import database
from tests.django_app.flows import World
from tests.support import factory, plant, proof
from tests.support.database import another, url_of

Connection = psycopg.Connection[Any]

APPROVE = "update applications_application set status = 'approved' where id = %s"
OLD = datetime(2021, 3, 15, 12, tzinfo=UTC)


@pytest.fixture
def log(migrated: Connection) -> Connection:
    migrated.autocommit = True
    return migrated


def scalar(connection: Connection, query: str, *parameters: object) -> Any:
    with connection.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(query.encode(), parameters).fetchone()


def scalars(connection: Connection, query: str, *parameters: object) -> list[Any]:
    with connection.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(query.encode(), parameters).fetchall()


def events(connection: Connection, *kinds: str) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "select * from integrity.event where kind = any(%(kinds)s) or %(kinds)s = '{}' order by id",
            {"kinds": list(kinds)},
        ).fetchall()


def apply(connection: Connection, **columns: Any) -> tuple[int, UUID, int]:
    """Insert an open quest with one application of a new user; return quest, user and application."""
    quest_id, user_id = factory.quest(connection), factory.user(connection)
    return quest_id, user_id, factory.application(connection, quest_id, user_id, **columns)


def approved(connection: Connection) -> tuple[int, UUID, int, int]:
    """Approve a new application; return quest, user, application and participant."""
    quest_id, user_id, application_id = apply(connection)
    connection.execute(APPROVE, [application_id])
    participant_id = scalar(connection, "select id from quests_questparticipant where quest_id = %s", quest_id)
    return quest_id, user_id, application_id, participant_id


def old_event(connection: Connection, at: datetime) -> int:
    """Write an event of another time, as a log that is older than the test has it; return its id."""
    return int(
        scalar(
            connection,
            "insert into integrity.event (at, kind, actor, application_name) "
            "values (%s, 'application_ended', 'somebody', '') returning id",
            at,
        )
    )


def partitions(connection: Connection) -> list[str]:
    return scalars(
        connection,
        "select inhrelid::regclass::text from pg_inherits where inhparent = 'integrity.event'::regclass order by 1",
    )


def this_month() -> str:
    return f"integrity.event_{datetime.now(UTC):%Y_%m}"


class TestWhatItSays:
    def test_an_approval_is_one_event_with_all_it_changed(self, log: Connection) -> None:
        quest_id, user_id, application_id = apply(log)
        log.execute("set integrity.actor = 'moderator 7'")
        log.execute("set application_name = 'peerquest web'")
        with log.transaction():
            log.execute(APPROVE, [application_id])
            transaction = scalar(log, "select pg_current_xact_id()::text")
            now = scalar(log, "select now()")

        (event,) = events(log)

        participant_id = scalar(log, "select id from quests_questparticipant where quest_id = %s", quest_id)
        assert event | {"id": 0} == {
            "id": 0,
            "at": now,
            "transaction": transaction,
            "kind": "application_approved",
            "quest_id": quest_id,
            "user_id": user_id,
            "application_id": application_id,
            "participant_id": participant_id,
            "before": {
                "application_status": "pending",
                "participant_status": None,
                "quest_status": "open",
                "assigned_to_id": None,
            },
            "after": {
                "application_status": "approved",
                "participant_status": "joined",
                "quest_status": "in-progress",
                "assigned_to_id": str(user_id),
            },
            "actor": "moderator 7",
            "application_name": "peerquest web",
        }

    def test_an_application_inserted_as_approved_is_one_event(self, log: Connection) -> None:
        apply(log, status="approved")
        (event,) = events(log)
        assert event["kind"] == "application_approved"
        assert event["before"]["application_status"] is None

    def test_a_second_participant_leaves_the_quest_as_it_was(self, log: Connection) -> None:
        quest_id, *_ = approved(log)
        log.execute(APPROVE, [factory.application(log, quest_id, factory.user(log))])
        assert events(log)[-1]["before"] == {"application_status": "pending", "participant_status": None}
        assert events(log)[-1]["after"] == {"application_status": "approved", "participant_status": "joined"}

    def test_an_approval_in_bulk_is_one_event_each(self, log: Connection) -> None:
        quest_id = factory.quest(log)
        for _ in range(30):
            factory.application(log, quest_id, factory.user(log))
            apply(log)
        log.execute("update applications_application set status = 'approved'")
        assert [event["kind"] for event in events(log)] == ["application_approved"] * 60
        assert len({event["application_id"] for event in events(log)}) == 60

    def test_the_apps_own_approval_is_one_event(self, log: Connection) -> None:
        database.create_missing_tables(url_of(log))
        with database.use(url_of(log)):
            World().admit("ann")
        assert [event["kind"] for event in events(log)] == ["application_approved"]

    def test_who_returns_was_dropped_before(self, log: Connection) -> None:
        quest_id, user_id, _, participant_id = approved(log)
        log.execute("update quests_questparticipant set status = 'dropped' where id = %s", [participant_id])
        log.execute(APPROVE, [factory.application(log, quest_id, user_id)])
        event = events(log, "application_approved")[-1]
        assert event["participant_id"] == participant_id
        assert (event["before"]["participant_status"], event["after"]["participant_status"]) == ("dropped", "joined")

    def test_a_participant_dropped(self, log: Connection) -> None:
        quest_id, user_id, application_id, participant_id = approved(log)
        log.execute("update quests_questparticipant set status = 'dropped' where id = %s", [participant_id])
        ended, dropped = events(log)[1:]
        assert (ended["kind"], ended["application_id"]) == ("application_ended", application_id)
        assert (ended["before"], ended["after"]) == (
            {"application_status": "approved"},
            {"application_status": "kicked"},
        )
        assert (dropped["kind"], dropped["participant_id"]) == ("participant_dropped", participant_id)
        assert dropped["before"] == {
            "participant_status": "joined",
            "quest_status": "in-progress",
            "assigned_to_id": str(user_id),
        }
        assert dropped["after"] == {"participant_status": "dropped", "quest_status": "open", "assigned_to_id": None}
        assert {ended["quest_id"], dropped["quest_id"]} == {quest_id}
        assert ended["transaction"] == dropped["transaction"]

    def test_a_participant_deleted(self, log: Connection) -> None:
        *_, participant_id = approved(log)
        log.execute("delete from quests_questparticipant where id = %s", [participant_id])
        assert events(log, "participant_dropped")[-1]["after"] == {
            "participant_status": None,
            "quest_status": "open",
            "assigned_to_id": None,
        }

    def test_an_application_deleted(self, log: Connection) -> None:
        *_, application_id, _ = approved(log)
        log.execute("delete from applications_application where id = %s", [application_id])
        assert [event["kind"] for event in events(log)[1:]] == ["application_ended", "participant_dropped"]
        assert events(log, "application_ended")[0]["after"] == {"application_status": None}

    def test_an_application_moved_says_where_to(self, log: Connection) -> None:
        quest_id, user_id, application_id, _ = approved(log)
        another_quest = factory.quest(log)
        log.execute("update applications_application set quest_id = %s where id = %s", [another_quest, application_id])
        (ended,) = events(log, "application_ended")
        assert (ended["quest_id"], ended["user_id"]) == (quest_id, user_id)
        assert ended["after"] == {
            "application_status": "approved",
            "quest_id": another_quest,
            "user_id": str(user_id),
        }
        assert events(log, "application_approved")[-1]["quest_id"] == another_quest

    def test_a_participant_who_joined_directly(self, log: Connection) -> None:
        quest_id, user_id = factory.quest(log), factory.user(log)
        participant_id = factory.participant(log, quest_id, user_id)
        (event,) = events(log)
        assert (event["kind"], event["participant_id"]) == ("participant_joined", participant_id)
        assert event["after"] == {
            "participant_status": "joined",
            "quest_status": "in-progress",
            "assigned_to_id": str(user_id),
        }

    def test_the_assignee_who_leaves_hands_the_quest_on(self, log: Connection) -> None:
        """Its status stays."""
        quest_id, user_id, _, participant_id = approved(log)
        heir = factory.user(log)
        factory.participant(log, quest_id, heir)
        log.execute("update quests_questparticipant set status = 'dropped' where id = %s", [participant_id])
        (dropped,) = events(log, "participant_dropped")
        assert (dropped["before"], dropped["after"]) == (
            {"participant_status": "joined", "quest_status": "in-progress", "assigned_to_id": str(user_id)},
            {"participant_status": "dropped", "quest_status": "in-progress", "assigned_to_id": str(heir)},
        )

    def test_an_approval_of_who_is_at_work_already(self, log: Connection) -> None:
        """On a completed quest, too, which it leaves as it is."""
        quest_id, user_id, application_id = apply(log)
        factory.participant(log, quest_id, user_id, status="in_progress", application_id=application_id)
        log.execute("update quests_quest set status = 'completed', completed_at = now() where id = %s", [quest_id])
        log.execute("update applications_application set status = 'approved' where id = %s", [application_id])
        (event,) = events(log, "application_approved")
        assert (event["before"], event["after"]) == (
            {"application_status": "pending", "participant_status": "in_progress"},
            {"application_status": "approved", "participant_status": "in_progress"},
        )

    def test_a_participant_handed_to_somebody_else_left_and_joined(self, log: Connection) -> None:
        quest_id, user_id, _, participant_id = approved(log)
        heir = factory.user(log)
        log.execute("update quests_questparticipant set user_id = %s where id = %s", [heir, participant_id])
        moved = events(log, "participant_dropped", "participant_joined")
        assert {(event["kind"], event["user_id"], event["quest_id"]) for event in moved} == {
            ("participant_dropped", user_id, quest_id),
            ("participant_joined", heir, quest_id),
        }

    def test_somebody_who_left_and_is_moved_joins_nowhere(self, log: Connection) -> None:
        left = factory.participant(log, factory.quest(log), factory.user(log), status="dropped")
        log.execute(
            "update quests_questparticipant set quest_id = %s, user_id = %s where id = %s",
            [factory.quest(log), factory.user(log), left],
        )
        assert events(log) == []

    def test_a_write_that_was_corrected(self, log: Connection) -> None:
        quest_id, user_id, *_ = approved(log)
        log.execute("update quests_quest set status = 'open', assigned_to_id = null where id = %s", [quest_id])
        event = events(log)[-1]
        assert event["kind"] == "quest_write_corrected"
        assert event["before"] == {"quest_status": "open", "assigned_to_id": None}
        assert event["after"] == {"quest_status": "in-progress", "assigned_to_id": str(user_id)}

    def test_a_repair_is_an_event_for_each_violation_it_repaired(self, unattached: Connection) -> None:
        lost = plant.approved_without_participant(unattached)
        unassigned = plant.unassigned_quest_with_participant(unattached)
        proof.attach(unattached)

        outcomes = proof.repair(unattached)

        run = scalar(unattached, "select max(id) from integrity.repair_run")
        repaired = events(unattached, "repaired")
        assert {(event["after"]["key"].split(":")[0], event["after"]["key"]) for event in repaired} == {
            key for key, outcome in outcomes.items() if outcome == "repaired"
        }
        assert [event["after"]["run"] for event in repaired] == [run] * len(repaired)
        by_quest = {event["quest_id"]: event for event in repaired}
        assert by_quest[lost.quest_id]["user_id"] == lost.user_id
        assert by_quest[lost.quest_id]["application_id"] == lost.application_id
        assert by_quest[unassigned.quest_id]["participant_id"] == unassigned.participant_id
        assert by_quest[unassigned.quest_id]["before"]["assigned_to_id"] is None

    def test_what_was_gone_when_its_turn_came_was_not_repaired(self, unattached: Connection) -> None:
        planted = plant.unassigned_quest_with_participant(unattached)
        proof.attach(unattached)
        unattached.autocommit = True
        run = scalar(unattached, "select integrity.start_repair(null, '{}')")
        unattached.execute("select integrity.plan_repair(%s, null, null, null, null)", [run])
        unattached.execute("update quests_quest set title = title || '!' where id = %s", [planted.quest_id])

        while scalar(unattached, "select integrity.repair_batch(%s, 10)", run):
            pass

        assert scalars(unattached, "select outcome from integrity.repair_item") == ["gone"]
        assert events(unattached, "repaired") == []

    def test_what_is_rolled_back_leaves_no_event(self, log: Connection) -> None:
        *_, application_id = apply(log)
        with log.transaction(force_rollback=True):
            log.execute(APPROVE, [application_id])
        assert events(log) == []

    def test_an_actor_that_is_not_set_is_the_session_user(self, log: Connection) -> None:
        log.execute("set integrity.actor = ''")
        approved(log)
        assert events(log)[0]["actor"] == scalar(log, "select session_user")

    def test_kinds_are_known_and_explained(self, log: Connection) -> None:
        kinds = scalars(log, "select kind from integrity.event_kind order by kind")
        definition = scalar(
            log, "select pg_get_constraintdef(oid) from pg_constraint where conname = 'event_kind_known'"
        )
        assert sorted(re.findall(r"{(.*)}", definition)[0].split(",")) == kinds
        comment = scalar(log, "select obj_description('integrity.event'::regclass)")
        assert sorted(comment.rstrip(".").split("event_kind: ")[1].split(", ")) == kinds
        with pytest.raises(errors.CheckViolation) as refusal:
            log.execute("select integrity.log_event('coffee_break', null, null, null, null, null, null)")
        assert refusal.value.diag.constraint_name == "event_kind_known"

    def test_it_costs_one_index(self, log: Connection) -> None:
        indexes = scalars(
            log, "select indexrelid::regclass::text from pg_index where indrelid = 'integrity.event'::regclass"
        )
        assert indexes == ["integrity.event_quest_id_at_idx"]


class TestAppendOnly:
    """Whoever asks, and in whatever replication role: the tests' user is the owner and a superuser."""

    @pytest.fixture(params=["origin", "replica"])
    def role(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture(params=["integrity.event", "this month", "integrity.event_default"])
    def table(self, request: pytest.FixtureRequest, log: Connection) -> str:
        approved(log)
        old_event(log, OLD)
        return this_month() if request.param == "this month" else str(request.param)

    @pytest.mark.parametrize(
        "statement", ["update {} set actor = 'nobody'", "delete from {}", "truncate {}", "truncate {} cascade"]
    )
    def test_no_change_is_accepted(self, statement: str, table: str, role: str, log: Connection) -> None:
        before = events(log)
        log.execute(f"set session_replication_role = {role}".encode())
        with pytest.raises(errors.RestrictViolation) as refusal:
            log.execute(statement.format(table).encode())
        assert refusal.value.diag.constraint_name == "integrity_event_append_only"
        assert refusal.value.diag.schema_name == "integrity"
        assert events(log) == before

    def test_a_partition_made_later_is_no_exception(self, log: Connection) -> None:
        old_event(log, OLD)
        log.execute("select integrity.prepare_event_partitions(0)")
        assert "integrity.event_2021_03" in partitions(log)
        for statement in ("update {} set actor = ''", "delete from {}", "truncate {}"):
            with pytest.raises(errors.RestrictViolation):
                log.execute(statement.format("integrity.event_2021_03").encode())

    def test_every_partition_has_both_triggers_always_on(self, log: Connection) -> None:
        states = dict(
            log.execute(
                "select tgrelid::regclass::text, array_agg((tgname, tgenabled)::text order by tgname) from pg_trigger "
                "where tgfoid = 'integrity.refuse_event_change'::regproc group by tgrelid"
            ).fetchall()
        )
        expected = ["(integrity_append_only,A)", "(integrity_append_only_truncate,A)"]
        assert states == dict.fromkeys(["integrity.event", *partitions(log)], expected)


class TestRetention:
    @pytest.fixture
    def old(self, log: Connection) -> Connection:
        """A log with events of March and May 2021, of last month and of today."""
        for at in (OLD, OLD, OLD + timedelta(days=60), datetime.now(UTC).replace(day=1) - timedelta(days=1)):
            old_event(log, at)
        approved(log)
        return log

    def test_months_older_than_the_age_are_dropped(self, old: Connection) -> None:
        kept = events(old)[3:]
        dropped = old.execute("select * from integrity.retain_events('2 years')").fetchall()
        assert dropped == [("event_2021_03", 2), ("event_2021_05", 1)]
        assert events(old)[:-1] == kept
        assert not {"integrity.event_2021_03", "integrity.event_2021_05"} & set(partitions(old))

    def test_months_of_other_tables_stay(self, old: Connection) -> None:
        old.execute("create table public.visit (at timestamptz) partition by range (at)")
        old.execute(
            "create table public.visit_old partition of public.visit for values from ('2001-01-01') to ('2001-02-01')"
        )
        dropped = old.execute("select dropped from integrity.retain_events('1 year')").fetchall()
        assert len(dropped) > 0
        assert ("visit_old",) not in dropped
        assert scalar(old, "select to_regclass('public.visit_old') is not null")

    def test_the_log_says_what_it_lost(self, old: Connection) -> None:
        old.execute("set integrity.actor = 'cron'")
        old.execute("select integrity.retain_events('2 years')")
        (event,) = events(old, "events_dropped")
        assert event["before"] == {"event_2021_03": 2, "event_2021_05": 1}
        assert event["after"] == {"keep": "2 years"}
        assert event["actor"] == "cron"

    def test_a_second_run_finds_nothing(self, old: Connection) -> None:
        old.execute("select integrity.retain_events('2 years')")
        before = events(old)
        assert old.execute("select integrity.retain_events('2 years')").fetchall() == []
        assert events(old) == before

    def test_a_month_goes_when_its_last_day_is_old_enough(self, log: Connection) -> None:
        first = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        old_event(log, first - timedelta(days=1))
        since_last_month = scalar(log, "select now() - %s::timestamptz", first)
        assert (
            log.execute(
                "select * from integrity.retain_events(%s + interval '1 minute')", [since_last_month]
            ).fetchall()
            == []
        )
        dropped = log.execute("select events from integrity.retain_events(%s)", [since_last_month]).fetchall()
        assert dropped == [(1,)]

    def test_the_current_month_always_stays(self, old: Connection) -> None:
        old.execute("select integrity.retain_events('0')")
        assert [event["kind"] for event in events(old)] == ["application_approved", "events_dropped"]

    @pytest.mark.parametrize("keep", ["-1 second", None, "-1 month", "1 month -40 days"])
    def test_an_age_that_would_drop_the_current_month_is_refused(self, keep: str | None, old: Connection) -> None:
        before = events(old)
        with pytest.raises(errors.InvalidParameterValue):
            old.execute("select integrity.retain_events(%s)", [keep])
        assert events(old) == before

    def test_coming_months_are_prepared(self, log: Connection) -> None:
        log.execute("select integrity.retain_events('1 year', 15)")
        assert len(partitions(log)) == 1 + 16
        for months in (-1, None):
            with pytest.raises(errors.InvalidParameterValue):
                log.execute("select integrity.retain_events('1 year', %s)", [months])

    @pytest.mark.parametrize(
        "settings", ["timezone = 'Asia/Kolkata'", "timezone = 'America/Los_Angeles'", "datestyle = 'German, DMY'"]
    )
    def test_months_are_utc_whatever_the_session_says(self, settings: str, log: Connection) -> None:
        log.execute(f"set {settings}".encode())
        old_event(log, datetime(2021, 3, 1, tzinfo=UTC))
        old_event(log, datetime(2021, 3, 31, 23, 59, tzinfo=UTC))
        old_event(log, datetime(2021, 4, 1, tzinfo=UTC))
        dropped = log.execute("select * from integrity.retain_events('2 years')").fetchall()
        assert dropped == [("event_2021_03", 2), ("event_2021_04", 1)]

    def test_a_month_that_nobody_prepared_waits_in_the_default_partition(self, log: Connection) -> None:
        log.execute(f"drop table {this_month()}".encode())
        approved(log)
        old_event(log, OLD)
        before = events(log)
        assert scalars(log, "select tableoid::regclass::text from integrity.event") == ["integrity.event_default"] * 2

        assert scalar(log, "select integrity.prepare_event_partitions(12)") == 3

        assert events(log) == before
        assert scalars(log, "select tableoid::regclass::text from integrity.event order by id") == [
            this_month(),
            "integrity.event_2021_03",
        ]
        for table in ("integrity.event_default", this_month()):
            with pytest.raises(errors.RestrictViolation):
                log.execute(f"truncate {table}".encode())
        assert "integrity.event_waiting" not in partitions(log)
        assert scalar(log, "select to_regclass('integrity.event_waiting')") is None
        approved(log)
        assert (
            scalar(log, "select tableoid::regclass::text from integrity.event order by id desc limit 1") == this_month()
        )

    def test_it_gives_up_rather_than_hold_up_approvals(self, log: Connection) -> None:
        old_event(log, OLD)
        before = partitions(log)
        *_, application_id = apply(log)
        with another(log) as reader:
            reader.execute("select count(*) from integrity.event")
            with pytest.raises(errors.LockNotAvailable):
                log.execute("select integrity.retain_events('1 year')")
        assert partitions(log) == before
        log.execute(APPROVE, [application_id])

    def test_two_at_once_do_not_meet(self, log: Connection) -> None:
        with another(log) as second:
            second.execute("select integrity.retain_events('1 year', 13)")
            with pytest.raises(errors.LockNotAvailable):
                log.execute("select integrity.retain_events('1 year', 13)")


class TestDump:
    @pytest.fixture
    def restored(self, log: Connection) -> Iterator[Connection]:
        """The database dumped with its log, and restored under another name."""
        quest_id, _, _, participant_id = approved(log)
        approved(log)
        log.execute("delete from quests_questparticipant where id = %s", [participant_id])
        log.execute("update quests_quest set title = title || '!' where id = %s", [quest_id])
        old_event(log, OLD)
        programs = find_binaries()
        environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
        name = sql.Identifier(f"{log.info.dbname}_restored")
        dump = subprocess.run(
            [programs / "pg_dump", url_of(log)], env=environment, check=True, capture_output=True
        ).stdout
        with psycopg.connect(url_of(log), dbname="postgres", autocommit=True) as admin:
            admin.execute(sql.SQL("create database {}").format(name))
            try:
                url = url_of(log).replace(log.info.dbname, f"{log.info.dbname}_restored")
                restore = [programs / "psql", "-qXv", "ON_ERROR_STOP=1", url]
                subprocess.run(restore, env=environment, input=dump, check=True, capture_output=True)
                with psycopg.connect(url, autocommit=True) as connection:
                    yield connection
            finally:
                admin.execute(sql.SQL("drop database {} with (force)").format(name))

    def test_it_is_whole_and_still_append_only(self, log: Connection, restored: Connection) -> None:
        assert events(restored) == events(log)
        for table in ["integrity.event", *partitions(restored)]:
            with pytest.raises(errors.RestrictViolation):
                restored.execute(f"truncate {table}".encode())
        for statement in ("update {} set actor = ''", "delete from {}"):
            for table in ("integrity.event", this_month(), "integrity.event_default"):
                with pytest.raises(errors.RestrictViolation):
                    restored.execute(statement.format(table).encode())
        with pytest.raises(errors.RestrictViolation):
            restored.execute("set session_replication_role = replica; delete from integrity.event")

    def test_it_goes_on(self, log: Connection, restored: Connection) -> None:
        approved(restored)
        assert events(restored)[-1]["id"] == events(log)[-1]["id"] + 1
        restored.execute("select integrity.retain_events('1 year')")
        assert len(events(restored)) == len(events(log)) + 1

    def test_the_timeline_loses_its_row_versions_not_its_sense(self, log: Connection, restored: Connection) -> None:
        timeline = "select apart, witness from integrity.approval_timeline order by application_id"
        nothing = timedelta(0)
        assert log.execute(timeline.encode()).fetchall() == [(None, None), (nothing, "row version")]
        assert restored.execute(timeline.encode()).fetchall() == [(None, None), (nothing, "joined_at")]


class TestCorrections:
    def test_who_writes_stale_quests_how_often_and_where(self, log: Connection) -> None:
        quests = [approved(log)[0] for _ in range(3)]
        stale = "update quests_quest set status = 'open' where id = %s"
        log.execute("set application_name = 'web'")
        for quest_id in (quests[0], quests[0], quests[1]):
            log.execute(stale, [quest_id])
        log.execute("set application_name = 'nightly import'")
        log.execute("set integrity.actor = 'importer'")
        log.execute(stale, [quests[2]])
        times = [event["at"] for event in events(log, "quest_write_corrected")]
        user = scalar(log, "select session_user")

        rows = log.execute("select * from integrity.corrections order by writes desc").fetchall()

        assert rows == [
            ("web", [user], 3, 2, times[0], times[2], quests[1]),
            ("nightly import", ["importer"], 1, 1, times[3], times[3], quests[2]),
        ]

    def test_a_right_write_is_none(self, log: Connection) -> None:
        quest_id, user_id, *_ = approved(log)
        log.execute(
            "update quests_quest set status = 'in-progress', assigned_to_id = %s where id = %s", [user_id, quest_id]
        )
        assert log.execute("select * from integrity.corrections").fetchall() == []


class TestTimeline:
    def timeline(self, connection: Connection) -> dict[str, Any]:
        with connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute("select * from integrity.approval_timeline order by approved_at desc limit 1")
            row = cursor.fetchone()
        assert row is not None
        return row

    def test_one_transaction_and_no_time_between(self, log: Connection) -> None:
        quest_id, user_id, application_id, participant_id = approved(log)
        (event,) = events(log)
        joined_at = scalar(log, "select joined_at from quests_questparticipant")
        xmin = scalar(log, "select xmin::text from quests_questparticipant")
        assert xmin == event["transaction"]
        assert self.timeline(log) == {
            "quest_id": quest_id,
            "user_id": user_id,
            "application_id": application_id,
            "participant_id": participant_id,
            "approved_at": event["at"],
            "approval_transaction": xmin,
            "participant_at": joined_at,
            "participant_transaction": xmin,
            "apart": timedelta(0),
            "witness": "row version",
        }

    def test_one_who_was_moved_to_another_quest_is_gone(self, log: Connection) -> None:
        *_, participant_id = approved(log)
        log.execute(
            "update quests_questparticipant set quest_id = %s where id = %s", [factory.quest(log), participant_id]
        )
        found = self.timeline(log)
        assert (found["participant_at"], found["witness"]) == (None, None)

    def test_each_on_a_quest_has_their_own(self, log: Connection) -> None:
        quest_id, *_ = approved(log)
        user_id = factory.user(log)
        log.execute(APPROVE, [factory.application(log, quest_id, user_id)])
        found = log.execute("select user_id, participant_id, witness from integrity.approval_timeline").fetchall()
        there = log.execute("select user_id, id, 'row version' from quests_questparticipant").fetchall()
        assert sorted(found) == sorted(there)
        assert len(there) == 2

    def test_a_row_written_since_has_its_own_time_for_a_witness(self, log: Connection) -> None:
        approved(log)
        log.execute("update quests_questparticipant set progress_notes = 'half way'")
        row = self.timeline(log)
        assert (row["witness"], row["apart"], row["participant_transaction"]) == ("joined_at", timedelta(0), None)

    def test_a_savepoint_has_a_number_of_its_own(self, log: Connection) -> None:
        *_, application_id = apply(log)
        with log.transaction(), log.transaction():
            log.execute(APPROVE, [application_id])
        row = self.timeline(log)
        assert (row["witness"], row["apart"], row["participant_transaction"]) == ("joined_at", timedelta(0), None)

    @pytest.mark.parametrize(("was", "witness"), [("joined", "event log"), ("dropped", "row version")])
    def test_one_who_was_there_before(self, was: str, witness: str, log: Connection) -> None:
        quest_id, user_id, application_id = apply(log)
        factory.participant(log, quest_id, user_id, status=was)
        log.execute(APPROVE, [application_id])
        assert (self.timeline(log)["witness"], self.timeline(log)["apart"]) == (witness, timedelta(0))
        log.execute("update quests_questparticipant set progress_notes = 'half way'")
        assert (self.timeline(log)["witness"], self.timeline(log)["apart"]) == ("event log", timedelta(0))

    def test_one_who_joined_late_shows(self, log: Connection) -> None:
        """No way leads there under the law; a row that says so of itself does."""
        approved(log)
        log.execute("update quests_questparticipant set joined_at = joined_at + interval '36 minutes'")
        row = self.timeline(log)
        assert (row["witness"], row["apart"]) == ("none", timedelta(minutes=36))

    def test_one_who_left_is_no_witness(self, log: Connection) -> None:
        approved(log)
        log.execute("delete from quests_questparticipant")
        row = self.timeline(log)
        assert (row["witness"], row["apart"], row["participant_at"]) == (None, None, None)
