"""The incident replayed on a throw-away server: lost, detected, repaired, tried again; then a policy made law."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from rich.console import Console

from checks import ddl, guards, law, migrate, render, repair, server, violations
from checks.people import People
from checks.screens import audit, changes, demo
from checks.target import Target

FOLDER = Path(__file__).parent
STUDENT3 = "20000000-0000-4000-8000-000000000003"

Connection = psycopg.Connection[Any]


def run() -> None:
    """Run the whole demonstration on a server of its own, which is gone afterwards."""
    # It is for people, also in a pager or the log of a CI.
    out = render.screen(80)
    with server.throwaway() as running:
        _incident(out, _database(running, "sync_001"), "SYNC-001")
        audited = _database(running, "audit_001")
        _incident(out, audited, "AUDIT-001")
        _attacks(out, audited)
        _policy(out, audited)
        demo.show_lessons(out)


def _database(running: server.Server, name: str) -> Target:
    with psycopg.connect(running.url, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    return Target(running.url.replace("/postgres?", f"/{name}?"), f"demo database {name}")


def _query(name: str) -> bytes:
    return (FOLDER / f"{name}.sql").read_bytes()


def _incident(out: Console, target: Target, name: str) -> None:
    render.heading(out, f"{name}: the database of the incident log, before any of this existed")
    migrate.upgrade(target, "0001_app_tables")
    with target.connect(autocommit=True) as connection:
        people = People(connection)
        with connection.transaction():
            connection.execute(_query(name.lower().replace("-", "_")))
        before = _state(connection)
        demo.show_state(*before, out)

        render.heading(out, f"{name}: attach the integrity layer (alembic upgrade head), then look")
        migrate.upgrade(target)
        with violations.one_snapshot(connection):
            audit.show_report(violations.report(connection), out, detailed=True)
            demo.show_people(connection.execute(_query("people")), out)
            audit.show_violations(violations.read(connection, by_quest=True), people, out)

        render.heading(out, f"{name}: preview the repair (audit --fix-issues --dry-run)")
        options = repair.Options(violations.Scope(), "create", reason=name)
        with repair.preview(connection, options, lambda *_: None, by_quest=True) as (_result, found):
            changes.show_changes(found, people, out)

        render.heading(out, f"{name}: repair, validate, look again")
        changes.show_outcomes(repair.apply(connection, options, lambda *_: None).outcomes, out)
        unenforced = law.advance(connection)
        audit.show_report(violations.report(connection), out)
        render.put(out, f"constraints not enforced on every row: {len(unenforced)}")
        render.heading(out, f"{name}: before → after")
        demo.show_state(*_state(connection), out, since=before)


def _state(connection: Connection) -> tuple[demo.Rows, demo.Rows]:
    """Return the applications and the quests as the incident log writes them down."""
    applications, quests = (connection.execute(_query(name)).fetchall() for name in ("applications", "quests"))
    return applications, quests


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
    render.heading(out, "Now try to commit the broken state again, in six ways")
    ended = []
    with target.connect() as connection:
        connection.execute(_query("attacked"))
        connection.commit()

        def copy() -> None:
            with connection.cursor().copy(COPIED) as rows:
                rows.write_row(("approved", "2026-01-01T00:00:00Z", STUDENT3, 36))

        def statement(text: LiteralString) -> Callable[[], object]:
            return lambda: connection.execute(text)

        attempts: tuple[tuple[str, tuple[int, ...], Callable[[], object]], ...] = (
            ("raw UPDATE: approve", (31,), statement(RAW_UPDATE)),
            ("bulk UPDATE: approve three", (32, 33, 34), statement(BULK)),
            ("DELETE the participant", (32,), statement(PARTICIPANT_DELETE)),
            ("stale quest write: open, nobody", (33,), statement(STALE_QUEST)),
            ("user triggers disabled, then approve", (35,), statement(TRIGGERS_OFF)),
            ("COPY an approved application in", (36,), copy),
        )
        for name, quests, attempt in attempts:
            outcome, detail = _attempt(connection, quests, attempt)
            ended.append((name, outcome, detail))
        report = violations.report(connection)
    demo.show_attempts(ended, out)
    demo.show_violations(report.violations("error"), out)


POLICY = "participant_without_approval"
JOIN: LiteralString = """
insert into quests_questparticipant (quest_id, user_id, status, joined_at, progress_notes)
select 34, id, 'joined', now(), '' from users_user where username = 'student2'
"""


def _policy(out: Console, target: Target) -> None:
    render.heading(out, "Make a policy law: nobody takes part without an approved application")
    with target.connect(autocommit=True) as connection:
        law.change(connection, ddl.USUAL, f"rule {POLICY}", "enforce", POLICY)
        remaining = guards.enforce(connection, law.of_rule(connection, POLICY))
        render.put(out, f"enforce {POLICY}: {'rows are in the way' if remaining else 'enforced on every row'}")
    with target.connect() as connection:
        outcome, detail = _attempt(connection, (34,), lambda: connection.execute(JOIN))
    demo.show_attempts([("join a quest without applying", outcome, detail)], out)


def _attempt(connection: Connection, quests: tuple[int, ...], attempt: Callable[[], object]) -> tuple[str, str]:
    """Commit an attempt; return how it ended and what the quests look like now."""
    try:
        attempt()
        connection.commit()
    except psycopg.errors.IntegrityError as error:
        connection.rollback()
        return "refused at commit", f"SQLSTATE {error.sqlstate}, constraint {error.diag.constraint_name}"
    said = dict(connection.execute(_query("attempted")).fetchall())
    connection.commit()
    return "healed in the same transaction", "; ".join(said[quest] for quest in quests)
