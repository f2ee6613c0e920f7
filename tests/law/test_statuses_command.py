"""`quest-integrity statuses`: what it lists, what it changes, and what it says to what cannot be."""

import csv
import io
import json
import re
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from checks import ddl, guards, statuses
from checks.cli import app
from checks.errors import UserError
from tests.law.conftest import Untouched
from tests.law.test_status_changes import NEW, approved_quest, known, plant_status, refused
from tests.law.test_statuses import CONSTRAINTS, KNOWN
from tests.support import catalog, cli, factory, traffic
from tests.support.database import another, target_of, url_of
from tests.support.guards import statuses as wrong_guards
from tests.support.waiting import wait_until_blocked

_Connection = psycopg.Connection[Any]

APPLICATIONS = "applications_application"
QUICK = ddl.LockPolicy(timeout=0.2, retries=2)


@pytest.fixture(params=KNOWN)
def table(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestList:
    def test_names_each_with_its_meaning(self, migrated: _Connection) -> None:
        cli.run(migrated, "statuses", "--add", f"{APPLICATIONS}:{NEW}")
        ran = cli.run(migrated, "statuses")
        assert ran.code == 0
        lines = [re.split(r"\s{2,}", line) for line in ran.out.splitlines()]
        assert lines[0] == ["table", "status", "added", "meaning"]
        assert [APPLICATIONS, "approved", "approved"] in lines
        assert [APPLICATIONS, "kicked", "not approved"] in lines
        assert [APPLICATIONS, NEW, "added", "not approved"] in lines
        assert ["quests_questparticipant", "dropped", "not active"] in lines
        assert ["quests_quest", "completed", "left alone"] in lines
        assert len(lines) == 1 + 11 + 1

    def test_in_every_format(self, untouched: Untouched) -> None:
        connection = untouched.connection
        listed = json.loads(cli.run(connection, "statuses", "--format", "json").out)
        assert [row["status"] for row in listed if row["relation"] == "quests_quest"] == KNOWN["quests_quest"]
        assert listed[0] == {
            "relation": APPLICATIONS, "status": "pending", "built_in": True, "meaning": "not approved"
        }  # fmt: skip
        lines = cli.run(connection, "statuses", "--format", "ndjson").out.splitlines()
        assert [json.loads(line) for line in lines] == listed
        rows = list(csv.DictReader(io.StringIO(cli.run(connection, "statuses", "--format", "csv").out)))
        assert [row["status"] for row in rows] == [row["status"] for row in listed]

    def test_by_who_may_only_read(self, untouched: Untouched) -> None:
        untouched.connection.execute("set role integrity_reader")
        assert untouched.connection.execute("select count(*) from integrity.status").fetchone() == (11,)


class TestChange:
    def test_adds_validates_and_removes(self, table: str, migrated: _Connection) -> None:
        before = catalog.snapshot(migrated)
        ran = cli.run(migrated, "statuses", "--add", f"{table}:{NEW}")
        assert (ran.code, ran.out) == (0, "")
        assert ran.err.splitlines()[1:] == [f"added: {table}:{NEW}"]
        assert known(migrated, table) == [*KNOWN[table], NEW]
        migrated.commit()
        assert wrong_guards(migrated) == {}
        assert cli.run(migrated, "audit").code == 0

        ran = cli.run(migrated, "statuses", "--remove", f"{table}:{NEW}")
        assert ran.code == 0
        assert ran.err.splitlines()[1:] == [f"removed: {table}:{NEW}"]
        assert catalog.changed(before, catalog.snapshot(migrated)) == {}
        assert refused(migrated, table, NEW) == CONSTRAINTS[table]
        events = cli.run(migrated, "events", "--kind", "statuses_changed")
        change = f"{table}: {json.dumps(KNOWN[table])} -> {json.dumps([*KNOWN[table], NEW])}"
        assert events.out.count(change) == 1

    def test_on_a_database_with_every_rule_broken(self, dirty: _Connection) -> None:
        """Its own status goes through; old rows with others keep the CHECK waiting, as before."""
        states = dict(dirty.execute("select name, state from integrity.law_status").fetchall())
        damage = wrong_guards(dirty)
        for table in KNOWN:
            ran = cli.run(dirty, "statuses", "--add", f"{table}:{NEW}")
            assert ran.code == 0
            assert f"{CONSTRAINTS[table]} is not enforced on old rows, as before (missing)" in ran.err
            assert "repair the rules unknown_status" in ran.err
        assert dict(dirty.execute("select name, state from integrity.law_status").fetchall()) == states
        dirty.commit()
        assert wrong_guards(dirty) == damage
        factory.application(dirty, factory.quest(dirty), factory.user(dirty), status=NEW)
        dirty.commit()
        ran = cli.run(dirty, "statuses", "--remove", f"{APPLICATIONS}:{NEW}")
        assert (ran.code, "1 rows of applications_application have it" in ran.err) == (2, True)

    def test_what_was_unknown_becomes_known(self, app_only: _Connection) -> None:
        """An app that has had a status of its own all along."""
        plant_status(app_only, APPLICATIONS, "withdrawn")
        cli.run(app_only, "upgrade")
        assert cli.run(app_only, "audit").code == 1
        ran = cli.run(app_only, "statuses", "--add", f"{APPLICATIONS}:withdrawn")
        assert ran.err.splitlines()[-1] == f"added: {APPLICATIONS}:withdrawn"
        assert cli.run(app_only, "audit").code == 0
        assert cli.run(app_only, "validate").code == 0
        assert [guard for guard in guards.read(app_only) if guard.status != "ok"] == []

    def test_a_statement_of_the_app_that_is_under_way_keeps_the_status(self, migrated: _Connection) -> None:
        """It was written before the change and is committed after: nobody could see it in between."""
        cli.run(migrated, "statuses", "--add", f"quests_quest:{NEW}")
        quest_id = factory.quest(migrated)
        migrated.commit()
        # At a database's own default an older snapshot would not show the row.
        migrated.execute(
            sql.SQL("alter database {} set default_transaction_isolation = 'repeatable read'").format(
                sql.Identifier(migrated.info.dbname)
            )
        )
        migrated.commit()
        with another(migrated) as writer, another(migrated, autocommit=True) as observer:
            hold = "update quests_quest set status = %s where id = %s"
            writer.execute(hold, [NEW, quest_id])
            process = cli.spawn(url_of(migrated), "statuses", "--remove", f"quests_quest:{NEW}")
            wait_until_blocked(observer, cli.backend_of(observer, process))
            writer.commit()
            ran = cli.finish(process)
        assert (ran.code, "rows of quests_quest were given it meanwhile" in ran.err) == (2, True), ran.err
        assert known(migrated, "quests_quest") == [*KNOWN["quests_quest"], NEW]
        migrated.commit()
        assert wrong_guards(migrated) == {}
        assert cli.run(migrated, "audit").code == 0

    def test_under_traffic_no_write_fails(self, migrated: _Connection) -> None:
        people = [factory.user(migrated) for _ in range(20)]
        for _ in range(20):
            quest_id = factory.quest(migrated)
            for user_id in people:
                factory.application(migrated, quest_id, user_id)
        migrated.commit()
        migrated.autocommit = True
        with traffic.traffic(migrated) as clients:
            clients.wait_for_more()
            for number in range(3):
                for table in KNOWN:
                    with another(migrated, autocommit=True) as session:
                        assert statuses.add(session, f"{table}:new {number}") == []
                clients.wait_for_more()
            for table in KNOWN:
                with another(migrated, autocommit=True) as session:
                    assert statuses.remove(session, f"{table}:new 1") == []
            clients.wait_for_more()
        assert migrated.execute("select count(*) from integrity.violations where severity = 'error'").fetchone() == (0,)
        assert wrong_guards(migrated) == {}


class TestBadInput:
    """Exit code 2, one sentence, and nothing changed."""

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--add", "withdrawn"], "'withdrawn' is not TABLE:STATUS"),
            (["--add", ""], "'' is not TABLE:STATUS"),
            (["--add", ":withdrawn"], "is not TABLE:STATUS"),
            (["--add", "quests_quest:"], "is not TABLE:STATUS"),
            (["--add", "quests_quest:a\nb"], "is not TABLE:STATUS"),
            (["--add", "quests_quest:a\udcff"], "is not TABLE:STATUS"),
            (["--remove", "withdrawn"], "is not TABLE:STATUS"),
            (["--add", "quests_quest:a", "--remove", "quests_quest:b"], "--add and --remove are two changes"),
            (
                ["--add", "quest:archived"],
                "no table 'quest' with statuses: there are applications_application, quests_quest",
            ),
            (["--add", "quests_quest:open"], "'open' of quests_quest is known already"),
            (["--add", "quests_quest: "], "' ' is no status"),
            (["--add", "quests_quest:it's"], "is no status: a status is made of letters"),
            (["--add", 'quests_quest:say "x"'], "is no status"),
            (["--add", "quests_quest:{a,b}"], "is no status"),
            (["--add", "quests_quest:a\\b"], "is no status"),
            (["--add", "quests_quest:a:b"], "is no status"),
            (["--add", "quests_quest:" + "a" * 16], "is too long for quests_quest, which holds 15 characters"),
            (["--add", "quests_quest:" + "a" * 5000], "is too long"),
            (["--remove", "quests_quest:archived"], "quests_quest has no known status 'archived'"),
            (
                ["--remove", "quests_quest:completed"],
                "'completed' of quests_quest stays: the layer itself works with it",
            ),
            (["--remove", "applications_application:kicked"], "stays: the layer itself works with it"),
            (["--remove", "quest:open"], "there is no table 'quest'"),
        ],
    )
    def test_is_refused(self, arguments: list[str], said: str, untouched: Untouched) -> None:
        ran = cli.run(untouched.connection, "statuses", *arguments)
        assert (ran.code, ran.out) == (2, "")
        assert said in ran.err
        assert ran.err.splitlines()[-1].startswith("error: ")
        assert untouched.changes() == {}

    def test_twice(self, migrated: _Connection) -> None:
        name = f"quests_quest:{NEW}"
        assert [cli.run(migrated, "statuses", "--add", name).code for _ in range(2)] == [0, 2]
        assert [cli.run(migrated, "statuses", "--remove", name).code for _ in range(2)] == [0, 2]
        assert wrong_guards(migrated) == {}

    def test_on_a_database_that_is_not_migrated(self, app_only: _Connection) -> None:
        ran = cli.run(app_only, "statuses", "--add", f"quests_quest:{NEW}")
        assert (ran.code, "is not migrated: run `quest-integrity upgrade`" in ran.err) == (2, True)

    @pytest.mark.parametrize("role", ["integrity_reader", "integrity_operator"])
    def test_by_somebody_who_may_not(self, role: str, untouched: Untouched) -> None:
        url = make_conninfo(url_of(untouched.connection), options=f"-c role={role}")
        for change in ("--add", "--remove"):
            result = CliRunner().invoke(app, ["--database-url", url, "statuses", change, f"quests_quest:{NEW}"])
            assert result.exit_code == 2
            assert "this user lacks a permission: connect as the owner of the tables" in result.stderr
        assert CliRunner().invoke(app, ["--database-url", url, "statuses"]).exit_code == 0
        assert untouched.changes() == {}

    def test_on_a_read_only_database(self, untouched: Untouched) -> None:
        url = make_conninfo(url_of(untouched.connection), options="-c default_transaction_read_only=on")
        result = CliRunner().invoke(app, ["--database-url", url, "statuses", "--add", f"quests_quest:{NEW}"])
        assert (result.exit_code, "the database is read-only" in result.stderr) == (2, True)


class TestLocks:
    def test_one_that_is_never_free(self, migrated: _Connection) -> None:
        """It tries again, gives up, and nothing is changed; no writer waits in between."""
        quest_id, _, _ = approved_quest(migrated)
        migrated.commit()
        before = catalog.snapshot(migrated)
        with another(migrated) as reader, target_of(migrated).connect(autocommit=True) as owner:
            reader.execute("select * from quests_quest where id = %s", [quest_id])
            with pytest.raises(errors.LockNotAvailable):
                statuses.add(owner, f"quests_quest:{NEW}", QUICK)
            # Others of the app go on.
            migrated.execute("update quests_quest set title = 'x' where id = %s", [quest_id])
            migrated.commit()
        assert catalog.changed(before, catalog.snapshot(migrated)) == {}
        assert wrong_guards(migrated) == {}

    def test_killed_while_it_waits(self, migrated: _Connection) -> None:
        before = catalog.snapshot(migrated)
        with another(migrated) as holder, another(migrated, autocommit=True) as observer:
            lock = "lock table quests_quest in access share mode"
            with cli.blocked(holder, observer, lock, "statuses", "--add", f"quests_quest:{NEW}") as process:
                process.kill()
                cli.finish(process)
        assert catalog.changed(before, catalog.snapshot(migrated)) == {}

    def test_stopped_before_it_has_validated(self, migrated: _Connection) -> None:
        """The law holds for new writes; the guards say what is left, and `validate` does it."""
        migrated.execute("select integrity.add_status('quests_quest', %s)", [NEW])
        migrated.commit()
        assert wrong_guards(migrated) == {
            "constraint integrity_quest_status_known on public.quests_quest": "not validated"
        }
        assert refused(migrated, "quests_quest", "archived") == CONSTRAINTS["quests_quest"]
        migrated.rollback()
        ran = cli.run(migrated, "statuses", "--add", f"quests_quest:{NEW}")
        assert (ran.code, "run quest-integrity validate" in ran.err) == (2, True)
        assert cli.run(migrated, "validate").code == 0
        assert wrong_guards(migrated) == {}


def test_a_name_is_split_at_its_first_colon() -> None:
    assert statuses.parse("quests_quest:on hold") == ("quests_quest", "on hold")
    with pytest.raises(UserError, match="TABLE:STATUS"):
        statuses.parse("on hold")


def test_a_status_added_while_detached_is_there_after_attaching(app_only: _Connection) -> None:
    """While a trigger stands in for the CHECK, detach refuses."""
    cli.run(app_only, "upgrade")
    assert cli.run(app_only, "detach").code == 0
    ran = cli.run(app_only, "statuses", "--add", f"{APPLICATIONS}:{NEW}")
    assert ran.code == 0, ran.err
    ran = cli.run(app_only, "attach")
    assert ran.code == 0, ran.err
    assert known(app_only, APPLICATIONS) == [*KNOWN[APPLICATIONS], NEW]
    factory.application(app_only, factory.quest(app_only), factory.user(app_only), status=NEW)
    app_only.commit()
    assert wrong_guards(app_only) == {}
