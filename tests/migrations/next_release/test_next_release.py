"""A database at this version, with all that it may have collected, goes to the next release and back under traffic."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import errors
from pytest_postgresql import factories

from checks import migrate
from migrations.sql_objects import SQL_ROOT
from tests.mechanism.test_dump_restore import live
from tests.migrations.next_release.conftest import Package, copy_of_package
from tests.moving.clusters import OWN_RULE
from tests.support import factory, plant, templates
from tests.support.catalog import Snapshot, changed, snapshot
from tests.support.cli import run, run_at
from tests.support.database import another, copy_of, url_of

_Connection = psycopg.Connection[Any]

# They stand only where old rows keep a constraint from being enforced.
STAND_INS = {"law/quest_heal", "law/end_outlived_approvals", "law/refuse_second_approval"}
ALL_REPLACED = """
from migrations.changes import replace, seal

revision = "0014_all_replaced"
down_revision = "{head}"


def upgrade():
    for name in {names}:
        replace(name, 1, 1)
    seal()


def downgrade():
    upgrade()
"""
HEAD, NEXT = migrate.head_revision(), "0014_next_release"
RULE = "pending_on_completed_quest"
# Reads the replaced view, directly and through another view, from a schema of the user's own.
OWN_VIEWS = """
create schema dashboard;
create view dashboard.broken with (security_barrier) as
select rule, violations from integrity.violation_summary where violations > 0;
create view dashboard.broken_rules as select count(*) as rules from dashboard.broken;
create view dashboard.metrics as select name, value from integrity.metric;
comment on column dashboard.broken.rule is 'Of the user''s own.';
grant select on dashboard.broken to pg_monitor;
grant select (value) on dashboard.metrics to pg_monitor;
"""
NEW = {
    ("trigger", "public.quests_questparticipant.integrity_lock_quest_on_move"),
    ("function", "integrity.derived_assignee(bigint,uuid)"),
    ("column", "integrity.violation_summary.built_in"),
    ("view", f"integrity.{RULE}"),
    ("function", f"integrity.repair_{RULE}(bigint[],text[],jsonb)"),
}
RECORDS = ("event", "repair_run", "repair_item", "repair_change", "audit_run", "audit_count", "audit_violation")


def _add(connection: _Connection) -> None:
    connection.execute(OWN_RULE)
    connection.execute(OWN_VIEWS)
    connection.execute("select * from integrity.grant_roles()")


def _use(connection: _Connection) -> None:
    """Leave what a database collects: events, a repair, recorded audits, and what a user has added."""
    live(connection)
    _add(connection)
    for command in (
        ("statuses", "--add", "quests_quest:archived"),
        ("audit", "--record", "--fail-on", "never"),
        ("audit", "--fix-issues", "--yes", "--missing-participant", "create", "--limit", "2", "--fail-on", "never"),
        ("audit", "--record", "--fail-on", "never"),
    ):
        assert run_at(url_of(connection), *command).code == 0, command


used_server = factories.postgresql_noproc(
    dbname="used", load=[templates.app_tables(plant.everything, "head", then=_use)]
)
used = copy_of("used_server")


def _records(connection: _Connection) -> dict[str, set[str]]:
    """Read every recorded row."""
    return {
        name: {row for (row,) in connection.execute(f"select t::text from integrity.{name} as t".encode()).fetchall()}
        for name in RECORDS
    }


DAMAGE = "select identity, detail from integrity.guard_status where damage"

APPROVE = "update applications_application set status = 'approved' where id = %s"
LEAVE = "update quests_questparticipant set status = 'dropped' where quest_id = %s and user_id = %s"


class Traffic:
    """Clients that approve and leave, on quests of their own and on one that all share."""

    def __init__(self, connection: _Connection) -> None:
        self._url = url_of(connection)
        self._done = threading.Event()
        self._progress = threading.Condition()
        self.failures: list[BaseException] = []
        self.writes = 0
        shared = factory.quest(connection)
        self._clients = []
        for _ in range(3):
            quests = (factory.quest(connection), shared)
            users = factory.user(connection), factory.user(connection)
            rows = [(factory.application(connection, quest, user), quest, user) for quest in quests for user in users]
            self._clients.append(threading.Thread(target=self._client, args=[rows]))
        connection.commit()

    def _client(self, rows: list[tuple[int, int, UUID]]) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True) as session:
                while not self._done.is_set():
                    for application_id, quest_id, user_id in rows:
                        self._write(session, APPROVE, application_id)
                        self._write(session, LEAVE, quest_id, user_id)
        except BaseException as error:
            self.failures.append(error)
            raise

    def _write(self, session: _Connection, statement: str, *values: object) -> None:
        while True:
            try:
                found = session.execute(statement, values).rowcount
            except errors.DeadlockDetected:
                continue
            assert found == 1
            with self._progress:
                self.writes += 1
                self._progress.notify_all()
            return

    def wait_for_more(self, more: int = 50) -> None:
        """Wait until so many writes more are done."""
        with self._progress:
            goal = self.writes + more
            assert self._progress.wait_for(lambda: self.writes >= goal or self.failures, 60)
        assert self.failures == []

    @contextmanager
    def running(self) -> Iterator[None]:
        for client in self._clients:
            client.start()
        try:
            yield
        finally:
            self._done.set()
            for client in self._clients:
                client.join()


def _forget_own_rule(connection: _Connection) -> Snapshot:
    """Return the catalog without the rule of the user's, which stands before or after the new one."""
    connection.execute("delete from integrity.rule where not built_in")
    connection.execute("select integrity.assemble_violations()")
    connection.commit()
    return snapshot(connection)


def test_up_down_and_up_again_under_traffic(used: _Connection, next_release: Package, app_only: _Connection) -> None:
    before, records = snapshot(used), _records(used)
    clients = Traffic(used)
    used.commit()
    with clients.running():
        clients.wait_for_more()
        catalogs = []
        for command in (("upgrade",), ("downgrade", HEAD), ("upgrade",)):
            done = clients.writes
            said = next_release.run(used, *command)
            assert said.code == 0, said.err
            assert clients.writes > done
            clients.wait_for_more()
            assert migrate.current_revision(used) == (NEXT if command == ("upgrade",) else HEAD)
            assert used.execute(DAMAGE).fetchall() == []
            now = _records(used)
            assert {name: rows - now[name] for name, rows in records.items() if not rows <= now[name]} == {}
            catalogs.append(snapshot(used))
            used.commit()
    assert clients.failures == []

    first, back, second = catalogs
    assert changed(before, first).keys() >= NEW
    assert changed(before, back) == {}
    assert changed(first, second) == {}
    assert used.execute("select rules from dashboard.broken_rules").fetchone() != (0,)
    assert next_release.run(used, "audit", "--rule", RULE, "--rule", "untitled_quest").code == 0

    # A database that never was at this version.
    plant.everything(app_only)
    app_only.commit()
    assert next_release.run(app_only, "upgrade").code == 0
    _add(app_only)
    app_only.commit()
    assert next_release.run(app_only, "statuses", "--add", "quests_quest:archived").code == 0
    assert changed(_forget_own_rule(app_only), _forget_own_rule(used)) == {}


def test_what_the_new_version_does(migrated: _Connection, next_release: Package) -> None:
    """And that the version before it does not, after a downgrade."""

    def assignee() -> str:
        quest_id = factory.quest(migrated)
        for status in ("joined", "in_progress"):
            factory.participant(migrated, quest_id, factory.user(migrated), status=status)
        migrated.execute("update quests_quest set assigned_to_id = null where id = %s", [quest_id])
        row = migrated.execute(
            "select participant.status from quests_quest as quest join quests_questparticipant as participant"
            " on quest_id = quest.id and user_id = assigned_to_id where quest.id = %s",
            [quest_id],
        ).fetchone()
        migrated.rollback()
        assert row is not None
        return str(row[0])

    assert assignee() == "joined"
    assert next_release.run(migrated, "upgrade").code == 0
    assert assignee() == "in_progress"
    # What is dropped for a migration of the app comes back as it is in this version.
    for command in (("around", "--", "true"), ("guards", "--against-package")):
        said = next_release.run(migrated, *command)
        assert said.code == 0, said.out + said.err
    assert assignee() == "in_progress"
    assert next_release.run(migrated, "downgrade", HEAD).code == 0
    assert assignee() == "joined"


def test_the_new_rule(unattached: _Connection, next_release: Package) -> None:
    """Clean 0, a lookalike 0, violated 1, repaired 0, undone 1."""
    user_id = factory.user(unattached)
    factory.application(unattached, factory.quest(unattached), user_id)
    completed = factory.quest(unattached, status="completed", completed_at=plant.DONE)
    factory.application(unattached, completed, user_id, status="rejected")
    unattached.commit()
    assert next_release.run(unattached, "upgrade").code == 0

    def audit(*options: str) -> int:
        return next_release.run(unattached, "audit", "--rule", RULE, "--fail-on", "warning", *options).code

    assert audit() == 0
    factory.application(unattached, completed, user_id)
    unattached.commit()
    assert audit() == 1
    assert audit("--fix-issues", "--yes") == 0
    assert next_release.run(unattached, "undo", "1").code == 0
    assert audit() == 1
    explained = next_release.run(unattached, "explain", RULE).out
    assert "without an answer" in explained
    assert "rejects the application" in explained


def test_damage_is_not_taken_for_right(migrated: _Connection, next_release: Package) -> None:
    migrated.execute("alter table quests_quest disable trigger integrity_mark")
    migrated.execute("drop view integrity.corrections")
    migrated.commit()
    before = snapshot(migrated)

    refused = next_release.run(migrated, "upgrade")

    assert refused.code == 2
    assert "integrity_mark on public.quests_quest (disabled)" in refused.err
    assert "view integrity.corrections (missing)" in refused.err
    assert changed(before, snapshot(migrated)) == {}
    # What it says helps.
    assert run(migrated, "guards", "--fix", "--yes").code == 0
    assert next_release.run(migrated, "upgrade").code == 0

    migrated.execute("update integrity.guard set expected = '{}' where identity = 'integrity.events'")
    migrated.commit()
    refused = next_release.run(migrated, "downgrade", HEAD)
    assert (refused.code, "manifest integrity.guard (altered)" in refused.err) == (2, True)
    # Whoever removes the layer need not repair it first.
    assert next_release.run(migrated, "downgrade", "base", "-x", "drop-app-tables=true").code == 0


@pytest.mark.parametrize(
    "work", ["select from integrity.metric", "update quests_questparticipant set progress_notes = 'Halfway.'"]
)
def test_others_are_waited_for(work: str, migrated: _Connection, next_release: Package) -> None:
    """Nothing is held in between, and who has waited in vain has changed nothing."""
    factory.participant(migrated, factory.quest(migrated), factory.user(migrated))
    migrated.commit()
    before = snapshot(migrated)
    with another(migrated) as busy:
        busy.execute(work.encode())
        refused = next_release.run(migrated, "upgrade", "-x", "lock-timeout=50ms", "-x", "lock-retries=2")
    assert (refused.code, "trying again" in refused.err) == (2, True)
    assert changed(before, snapshot(migrated)) == {}


def test_every_file_can_be_replaced(migrated: _Connection, tmp_path: Path) -> None:
    """Here by itself: whatever reads it is afterwards as it was."""
    files = {str(path.relative_to(SQL_ROOT)) for path in SQL_ROOT.rglob("*.v1.sql")}
    names = sorted({name.removesuffix(".v1.sql") for name in files} - STAND_INS)
    before = snapshot(migrated)
    with copy_of_package(tmp_path) as package:
        revision = tmp_path / "migrations" / "versions" / "0014_all_replaced.py"
        revision.write_text(ALL_REPLACED.format(head=HEAD, names=names))
        for command in (("upgrade",), ("downgrade", HEAD)):
            said = package.run(migrated, *command)
            assert said.code == 0, said.err
            assert changed(before, snapshot(migrated)) == {}
        assert migrated.execute(DAMAGE).fetchall() == []
        migrated.commit()


def test_what_depends_on_a_column_that_goes_is_not_dropped(migrated: _Connection, next_release: Package) -> None:
    assert next_release.run(migrated, "upgrade").code == 0
    migrated.execute("create view public.own as select rule from integrity.violation_summary where built_in")
    migrated.commit()
    refused = next_release.run(migrated, "downgrade", HEAD)
    assert refused.code != 0
    assert migrated.execute("select count(*) from public.own").fetchone() == (13,)
