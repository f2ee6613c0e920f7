"""The incident replayed on a throw-away server: lost, detected, repaired, and then tried again in six ways."""

from collections.abc import Callable
from typing import Any, LiteralString
from uuid import UUID, uuid5

import psycopg
from psycopg import sql
from rich.console import Console, Group
from rich.text import Text

from checks import law, migrate, render, repair, server, violations
from checks.ddl import LockPolicy
from checks.target import Target

ADMIN = UUID("483ab258-e434-44f3-9da2-73409dd55f55")
DUMMY_1 = 17
TEST_1_1 = 5

Connection = psycopg.Connection[Any]


def run() -> None:
    """Run the whole demonstration on a server of its own, which is gone afterwards."""
    out = render.console()
    with server.throwaway() as running:
        _incident(out, _database(running, "sync_001"), "SYNC-001", _load_sync_001)
        audited = _database(running, "audit_001")
        _incident(out, audited, "AUDIT-001", _load_audit_001)
        _attacks(out, audited)


def _database(running: server.Server, name: str) -> Target:
    with psycopg.connect(running.url, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    return Target(running.url.replace("/postgres?", f"/{name}?"), f"demo database {name}")


def _heading(out: Console, text: str) -> None:
    out.print()
    out.print(Text(text, "bold underline"))


def _incident(out: Console, target: Target, name: str, load: Callable[[Connection], None]) -> None:
    _heading(out, f"{name}: the database of the incident log, before any of this existed")
    migrate.upgrade(target, "0001_app_tables")
    with target.connect(autocommit=True) as connection:
        with connection.transaction():
            load(connection)
        before = _state(connection, "before", out)
        out.print(before)

        _heading(out, f"{name}: attach the integrity layer (alembic upgrade head), then look")
        migrate.upgrade(target)
        with violations.one_snapshot(connection):
            report = violations.report(connection)
            render.show_report(report, out)
            _show_people(connection, out)
            render.show_violations(violations.read(connection), out)

        _heading(out, f"{name}: preview the repair (audit --fix-issues --dry-run)")
        options = repair.Options(violations.Scope(), reason=name)
        _result, changes = repair.preview(connection, options, lambda *_: None)
        render.show_changes(changes, out)

        _heading(out, f"{name}: repair, validate, look again")
        render.show_outcomes(repair.apply(connection, options, lambda *_: None).outcomes, out)
        unenforced = law.advance(connection, LockPolicy())
        render.show_report(violations.report(connection), out)
        out.print(f"constraints not enforced on every row: {len(unenforced)}", highlight=False)
        _heading(out, f"{name}: before and after")
        render.side_by_side(out, before, _state(connection, "after", out))


def _show_people(connection: Connection, out: Console) -> None:
    rows = connection.execute(
        "select person.username, count(*) from integrity.violations as violation "
        "inner join users_user as person on violation.user_id = person.id "
        "where violation.severity = 'error' group by person.username order by count(*) desc, person.username desc"
    )
    listing = render.table("user", "violations", on=out)
    for username, count in rows:
        listing.add_row(username, str(count))
    out.print(listing)


def _state(connection: Connection, title: str, out: Console) -> Group:
    """Return the tables as the incident log writes them down: applications, participants, quests."""
    applications = render.table("quest", "applicant", "application", "participant", title=title, on=out)
    for row in connection.execute(
        "select quest.title || ' (' || quest.id || ')', person.username, application.status, "
        "coalesce(participant.status, case application.status when 'approved' then 'MISSING' else '' end) "
        "from applications_application as application "
        "inner join quests_quest as quest on application.quest_id = quest.id "
        "inner join users_user as person on application.applicant_id = person.id "
        "left join quests_questparticipant as participant on participant.quest_id = application.quest_id "
        "and participant.user_id = application.applicant_id order by quest.id, application.id"
    ):
        style = "bold red" if row[3] == "MISSING" else ""
        applications.add_row(*row[:3], Text(row[3], style))
    quests = render.table("quest", "status", "assigned to", "participants", on=out)
    for row in connection.execute(
        "select quest.title || ' (' || quest.id || ')', quest.status, coalesce(person.username, 'nobody'), "
        "(select count(*) from quests_questparticipant as participant where participant.quest_id = quest.id)::text "
        "from quests_quest as quest left join users_user as person on quest.assigned_to_id = person.id "
        "order by quest.id"
    ):
        quests.add_row(*row)
    return Group(applications, quests)


def _person(connection: Connection, username: str, identity: UUID | None = None) -> UUID:
    user = identity or uuid5(ADMIN, username)
    connection.execute(
        "insert into users_user (id, password, is_superuser, username, first_name, last_name, is_staff, is_active, "
        "date_joined, email) values (%s, '!', false, %s, '', '', false, true, now(), %s)",
        [user, username, f"{username}@example.org"],
    )
    return user


def _category(connection: Connection) -> None:
    connection.execute("insert into quests_questcategory (id, name, created_at) values (1, 'Demo', now())")


def _quest(
    connection: Connection,
    identity: int,
    title: str,
    creator: UUID,
    status: str = "open",
    assignee: UUID | None = None,
) -> None:
    connection.execute(
        "insert into quests_quest (id, title, description, difficulty, status, xp_reward, gold_reward, "
        "commission_fee, created_at, updated_at, requirements, resources, slug, is_deleted, assigned_to_id, "
        "category_id, creator_id) "
        "values (%s, %s, '', 'easy', %s, 10, 0, 0, now(), now(), '', '', %s, false, %s, 1, %s)",
        [identity, title, status, f"quest-{identity}", assignee, creator],
    )


def _application(connection: Connection, quest: int, applicant: UUID, status: str = "approved") -> None:
    connection.execute(
        "insert into applications_application (status, applied_at, reviewed_at, applicant_id, quest_id) "
        "values (%s, now(), case when %s <> 'pending' then now() end, %s, %s)",
        [status, status, applicant, quest],
    )


def _participant(connection: Connection, quest: int, user: UUID) -> None:
    connection.execute(
        "insert into quests_questparticipant (status, joined_at, progress_notes, quest_id, user_id) "
        "values ('joined', now(), '', %s, %s)",
        [quest, user],
    )


def _load_sync_001(connection: Connection) -> None:
    """Load the log's SYNC-001: two approvals of admin, one participant, quest 5 open and assigned to nobody."""
    creator = _person(connection, "questmaster")
    admin = _person(connection, "admin", ADMIN)
    _category(connection)
    _quest(connection, DUMMY_1, "Dummy 1", creator, "in-progress", admin)
    _quest(connection, TEST_1_1, "Test 1.1", creator)
    for quest in (DUMMY_1, TEST_1_1):
        _application(connection, quest, admin)
    _participant(connection, DUMMY_1, admin)


def _load_audit_001(connection: Connection) -> None:
    """Load the log's AUDIT-001: 3 approvals without participant, 2 quests assigned to nobody, three students."""
    creator = _person(connection, "questmaster")
    helper = _person(connection, "helper")
    students = {name: _person(connection, name) for name in ("student1", "student2", "student3")}
    _category(connection)
    # Quests that the helper works on, so that only the student's own record is missing.
    for identity, missing in ((21, "student2"), (22, "student2"), (23, "student3")):
        _quest(connection, identity, f"Quest {identity}", creator, "in-progress", helper)
        _application(connection, identity, helper)
        _participant(connection, identity, helper)
        _application(connection, identity, students[missing])
    for identity, unassigned in ((24, "student2"), (25, "student1")):
        _quest(connection, identity, f"Quest {identity}", creator, "in-progress")
        _application(connection, identity, students[unassigned])
        _participant(connection, identity, students[unassigned])


def _load_attacked(connection: Connection) -> None:
    """Load six open quests, each with a pending application."""
    creator = _person(connection, "attacker")
    for identity in range(31, 37):
        _quest(connection, identity, f"Quest {identity}", creator)
        _application(connection, identity, uuid5(ADMIN, "student1"), "pending")


RAW_UPDATE: LiteralString = "update applications_application set status = 'approved' where quest_id = 31"
BULK: LiteralString = "update applications_application set status = 'approved' where quest_id in (32, 33, 34)"
PARTICIPANT_DELETE: LiteralString = "delete from quests_questparticipant where quest_id = 32"
STALE_QUEST: LiteralString = "update quests_quest set status = 'open', assigned_to_id = null where id = 33"
COPIED: LiteralString = "copy applications_application (status, applied_at, applicant_id, quest_id) from stdin"
TRIGGERS_OFF: LiteralString = """
alter table applications_application disable trigger user;
alter table quests_quest disable trigger user;
update applications_application set status = 'approved', integrity_approved = true where quest_id = 35
"""


def _attacks(out: Console, target: Target) -> None:
    _heading(out, "Now try to commit the broken state again, in six ways")
    listing = render.table("attempt", "outcome", "what happened", on=out)
    with target.connect() as connection:
        _load_attacked(connection)
        connection.commit()

        def copy() -> None:
            with connection.cursor().copy(COPIED) as rows:
                rows.write_row(("approved", "2026-01-01T00:00:00Z", str(uuid5(ADMIN, "student3")), 36))

        def statement(text: LiteralString) -> Callable[[], None]:
            return lambda: void(connection.execute(text))

        attempts: tuple[tuple[str, tuple[int, ...], Callable[[], None]], ...] = (
            ("raw UPDATE: approve", (31,), statement(RAW_UPDATE)),
            ("bulk UPDATE: approve three", (32, 33, 34), statement(BULK)),
            ("DELETE the participant", (32,), statement(PARTICIPANT_DELETE)),
            ("stale quest write: open, nobody", (33,), statement(STALE_QUEST)),
            ("user triggers disabled, then approve", (35,), statement(TRIGGERS_OFF)),
            ("COPY an approved application in", (36,), copy),
        )
        for name, quests, attempt in attempts:
            outcome, detail = _attempt(connection, list(quests), attempt)
            listing.add_row(name, Text(outcome, "green"), detail)
        out.print(listing)
        report = violations.report(connection)
    out.print(f"violations of severity error after all six: {report.violations('error')}", highlight=False)


def void(_value: object) -> None:
    """Drop a value: an attempt returns nothing."""


def _attempt(connection: Connection, quests: list[int], attempt: Callable[[], None]) -> tuple[str, str]:
    """Commit an attempt; return how it ended and what the quests look like now."""
    try:
        attempt()
        connection.commit()
    except psycopg.errors.IntegrityError as error:
        connection.rollback()
        return "refused at commit", f"SQLSTATE {error.sqlstate}, constraint {error.diag.constraint_name}"
    rows = connection.execute(
        "select quest.id, quest.status, coalesce(person.username, 'nobody'), "
        "string_agg(distinct application.status, ' and '), "
        "coalesce(string_agg(distinct participant.status, ','), 'none') from quests_quest as quest "
        "left join users_user as person on quest.assigned_to_id = person.id "
        "left join applications_application as application on application.quest_id = quest.id "
        "left join quests_questparticipant as participant on participant.quest_id = quest.id "
        "where quest.id = any(%s) group by quest.id, person.username order by quest.id",
        [quests],
    ).fetchall()
    connection.commit()
    said = "; ".join(
        f"quest {quest}: {status}, assigned to {assignee}, application {applications}, participant {participants}"
        for quest, status, assignee, applications, participants in rows
    )
    return "healed in the same transaction", said
