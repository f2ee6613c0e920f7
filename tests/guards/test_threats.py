"""Every threat of docs/threat-model.md, carried out: what the tables there say of it is what happens.

The document is the expectation; this file only knows how each threat is done.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import psycopg
import pytest
from psycopg import errors
from typer.testing import CliRunner

from checks import server
from checks.cli import app
from tests.roles.cluster import APP, DBA, OWNER, ROLES, Cluster, Connection, Database
from tests.support import factory
from tests.support.database import KEEP_MEMORY
from tests.support.programs import ROOT, program

HEADINGS = ["threat", "takes", "a broken write", "`guards` says", "`audit` exits", "rules that show it", "`--fix`"]
SECONDS = 60
ORIGIN = "select reset_val = 'origin' from pg_settings where name like 'session_replication_role'"

# Whoever writes it knows our markers; nothing but the enforcement stands in its way.
APPROVE = "update applications_application set status = 'approved', integrity_approved = true where id = 1"
MECHANISM = "; ".join(
    f"alter table {table} disable trigger user"
    for table in ("applications_application", "quests_questparticipant", "quests_quest")
)
LAW = "integrity_approved_application_has_participant"
DROP_LAW = f"alter table applications_application drop constraint {LAW}"


@dataclass(frozen=True)
class Threat:
    """How it is done.

    Args:
        does: Statements, each in a transaction of its own; who may not do the first cannot do it.
        by_hand: Does what is left to do.
        writes: The write that would break the data, by the app.
        in_session: The write is done in the session of the statements, not by the app.
        after: A statement that follows the write.
        asked: How the guards are asked.
    """

    does: tuple[str, ...]
    by_hand: Callable[[Cluster, Database], None] | None = None
    writes: str = APPROVE
    in_session: bool = False
    after: str = ""
    asked: Literal["guards", "guards --against-package", "psql"] = "guards"


def replicate(cluster: Cluster, database: Database) -> None:
    """Let the broken row arrive from a publisher."""
    source = _copy(cluster, "source")
    source.run(DBA, "create publication threat for table public.applications_application")
    source.run(DBA, "select pg_create_logical_replication_slot('threat', 'pgoutput')")
    database.run(DBA, "alter subscription threat enable")
    database.run(DBA, "alter subscription threat refresh publication with (copy_data = false)")
    _as_replica(source, APPROVE)
    _until(database, "select status = 'approved' from applications_application where id = 1")


def restore(cluster: Cluster, database: Database) -> None:
    """Let the broken row come out of a dump."""
    source = _copy(cluster, "source")
    _as_replica(source, APPROVE.replace("set ", "set id = 77, "), "delete from applications_application where id < 77")
    dump = [program("pg_dump"), "-Fc", "--data-only", "--table=public.applications_application", source.url(DBA)]
    done = subprocess.run(dump, check=True, capture_output=True)
    into = ["--data-only", "--disable-triggers", "--exit-on-error", "--dbname", database.url(DBA)]
    subprocess.run([program("pg_restore"), *into], input=done.stdout, check=True, capture_output=True)


def reload(_: Cluster, database: Database) -> None:
    """Have the server read its settings."""
    database.run(DBA, "select pg_reload_conf()")
    _until(database, ORIGIN.replace("=", "<>", 1))


def _as_replica(database: Database, *statements: str) -> None:
    with database.session(DBA) as session:
        for statement in ("set session_replication_role = replica", *statements):
            session.execute(statement.encode())


def _until(database: Database, true: str) -> None:
    deadline = time.monotonic() + SECONDS
    while database.run(DBA, true) != [(True,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


THREATS = {
    "a session with `session_replication_role = replica`": Threat(
        ("set session_replication_role = replica",), in_session=True
    ),
    "that setting for a role or a database": Threat(
        (
            f"alter role {APP} in database peerquest set session_replication_role = replica",
            "alter database peerquest set session_replication_role = replica",
        )
    ),
    "that setting for the server": Threat(("alter system set session_replication_role = replica",), by_hand=reload),
    "logical replication apply": Threat(
        (
            "create subscription threat connection 'host={host} port={port} dbname=source user=postgres'"
            " publication threat with (connect = false, slot_name = threat)",
        ),
        by_hand=replicate,
        writes="",
    ),
    "`pg_restore --disable-triggers`": Threat(
        (
            "alter table applications_application disable trigger all",
            "alter table applications_application enable trigger all",
        ),
        by_hand=restore,
        writes="",
    ),
    "a session with `integrity.mechanism = off`": Threat(("set integrity.mechanism = off",), in_session=True),
    "that setting of the mechanism for a role or a database": Threat(
        (
            f"alter role {APP} in database peerquest set integrity.mechanism = off",
            "alter database peerquest set integrity.mechanism = off",
        )
    ),
    "`DISABLE TRIGGER USER`": Threat((MECHANISM,)),
    "`DISABLE TRIGGER ALL`": Threat((MECHANISM.replace("user", "all"),)),
    "`ENABLE REPLICA TRIGGER`": Threat(
        ("alter table applications_application enable replica trigger integrity_approved_on_update",)
    ),
    "a trigger dropped": Threat(("drop trigger integrity_approved_on_update on applications_application",)),
    "`integrity.detach()`": Threat(("select integrity.detach()",)),
    "a trigger dropped, and listed as detached": Threat(
        (
            "drop trigger integrity_approved_on_update on applications_application",
            "insert into integrity.detached_object (kind, identity, depth) values"
            " ('trigger', 'integrity_approved_on_update on public.applications_application', 1)",
        )
    ),
    "a constraint dropped": Threat((DROP_LAW, MECHANISM)),
    "a constraint dropped, and added `NOT VALID` again": Threat(
        (DROP_LAW, MECHANISM),
        after=MECHANISM.replace("disable", "enable")
        + "; do $$ begin execute (select definition from integrity.guard where identity ="
        f" '{LAW} on public.applications_application'); end $$",
    ),
    "a constraint replaced by a weaker one": Threat(
        (
            "alter table applications_application drop constraint integrity_application_marker,"
            " add constraint integrity_application_marker check (true)",
            MECHANISM,
        ),
        writes="update applications_application set status = 'approved' where id = 1",
    ),
    "`CREATE OR REPLACE FUNCTION`": Threat(
        (
            "create or replace function integrity.on_application_approved() returns trigger language plpgsql"
            " as 'begin return null; end'",
        )
    ),
    "`ALTER FUNCTION`": Threat(("alter function integrity.on_application_approved() security invoker",)),
    "a trigger of the app's own that swallows our writes": Threat(
        (
            "create function public.swallow() returns trigger language plpgsql as 'begin return null; end'",
            "create trigger swallow before insert on quests_questparticipant"
            " for each row execute function public.swallow()",
        )
    ),
    "row-level security that hides rows from us": Threat(
        ("alter table quests_questparticipant enable row level security",)
    ),
    "a table that inherits from the app's": Threat(
        ("create table elsewhere () inherits (applications_application)", f"grant all on elsewhere to {APP}"),
        writes="insert into elsewhere select * from applications_application where id = 1;"
        " update elsewhere set status = 'approved', integrity_approved = true",
    ),
    "`TRUNCATE`": Threat(
        # GRANT only warns those who may not; the first statement changes nothing, and only owners may.
        (
            "alter table quests_questparticipant enable trigger integrity_mark",
            f"grant truncate on quests_questparticipant to {APP}",
        ),
        writes="truncate quests_questparticipant",
    ),
    "`TRUNCATE … CASCADE`": Threat(
        (
            "alter table quests_questparticipant enable trigger integrity_mark",
            f"grant truncate on all tables in schema public to {APP}",
        ),
        writes="truncate quests_questparticipant cascade",
    ),
    "edits of the catalog": Threat(
        (
            "update pg_trigger set tgenabled = 'D' where tgrelid in"
            " ('applications_application'::regclass, 'quests_questparticipant'::regclass, 'quests_quest'::regclass)",
        )
    ),
    "rights on our tables": Threat(
        (f"grant usage on schema integrity to {APP}", f"grant insert, update on integrity.event to {APP}")
    ),
    "another owner": Threat((f"alter table integrity.repair_run owner to {APP}",)),
    "a rule taken off the list": Threat(
        (
            "delete from integrity.rule where rule = 'approved_without_participant'",
            "select integrity.assemble_violations()",
        )
    ),
    "a status that nobody added": Threat(
        ("insert into integrity.status values ('applications_application', 'planted', 5, false)",)
    ),
    "a rule view that finds nothing": Threat(
        (
            "do $$ begin execute 'create or replace view integrity.approved_without_participant as ' ||"
            " rtrim(pg_get_viewdef('integrity.approved_without_participant'), ';') || ' limit 0'; end $$",
        )
    ),
    "events deleted": Threat(
        ("alter table integrity.event disable trigger all", "delete from integrity.event"),
    ),
    "a month of events dropped": Threat(
        (
            "do $$ begin execute 'drop table integrity.' || (select min(relname) from pg_class"
            " where relname like 'event\\_20__\\___' and relkind = 'r'); end $$",
        )
    ),
    "the manifest dropped": Threat(("drop table integrity.guard cascade",)),
    "the manifest edited": Threat(
        (
            "delete from integrity.guard where identity like 'integrity_approved_on_update on %'",
            "drop trigger integrity_approved_on_update on applications_application",
        )
    ),
    "the manifest written anew": Threat(
        ("drop trigger integrity_approved_on_update on applications_application", "select integrity.record_guards()")
    ),
    "the manifest written anew, and compared with the package": Threat(
        ("drop trigger integrity_approved_on_update on applications_application", "select integrity.record_guards()"),
        asked="guards --against-package",
    ),
    "`integrity.guard_status` replaced": Threat(
        (
            'create or replace view integrity.guard_status as select kind, identity collate "C" as identity,'
            " 'ok'::text as status, false as damage, false as waiting, ''::text as detail,"
            ' null::text collate "C" as mend, position from integrity.guard',
            "drop trigger integrity_approved_on_update on applications_application",
        )
    ),
    "`integrity.guard_status` replaced, and read in psql": Threat(
        (
            'create or replace view integrity.guard_status as select kind, identity collate "C" as identity,'
            " 'ok'::text as status, false as damage, false as waiting, ''::text as detail,"
            ' null::text collate "C" as mend, position from integrity.guard',
            "drop trigger integrity_approved_on_update on applications_application",
        ),
        asked="psql",
    ),
    "the schema `integrity` dropped": Threat(("drop schema integrity cascade",)),
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server of its own, whose database `threatened` has the layer and two quests: the first has an applicant."""
    with server.throwaway({"wal_level": "logical", "client_min_messages": "error"}, KEEP_MEMORY) as running:
        found = Cluster(running)
        found.admit()
        found.run(f"alter role {OWNER} createrole")
        template = found.database("threatened")
        template.adopt()
        template.upgrade()
        template.admit_app()
        with template.session(APP) as session:
            factory.application(session, factory.quest(session), factory.user(session))
            quest = factory.quest(session)
            factory.application(session, quest, factory.user(session))
            session.execute("update applications_application set status = 'approved' where quest_id = %s", [quest])
        assert template.owners() == {ROLES[2]}
        yield found


@pytest.fixture
def database(cluster: Cluster) -> Iterator[Database]:
    made = _copy(cluster, "peerquest")
    yield made
    if made.run(DBA, "select 1 from pg_subscription"):
        made.run(DBA, "alter subscription threat disable")
        made.run(DBA, "alter subscription threat set (slot_name = none)")
        made.run(DBA, "drop subscription threat")
        cluster.run("select pg_drop_replication_slot('threat')")
    cluster.run("alter system reset session_replication_role")
    cluster.run("select pg_reload_conf()")
    _until(Database(cluster.running, "postgres"), ORIGIN)
    for name in ("peerquest", "source"):
        cluster.run(f"drop database if exists {name} with (force)")


def _copy(cluster: Cluster, name: str) -> Database:
    cluster.run(f"create database {name} template threatened owner {OWNER}")
    return Database(cluster.running, name)


def _documented() -> dict[str, dict[str, str]]:
    """Return the rows of the document's tables of threats, by threat."""
    found: dict[str, dict[str, str]] = {}
    headed = False
    for line in (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells == HEADINGS:
            headed = True
        elif not line.startswith("|"):
            headed = False
        elif headed and not cells[0].startswith("--"):
            assert cells[0] not in found
            found[cells[0]] = dict(zip(HEADINGS[1:], cells[1:], strict=True))
    return found


DOCUMENTED = _documented()


def test_every_threat_of_the_document_is_carried_out() -> None:
    assert set(DOCUMENTED) == set(THREATS)


@pytest.mark.parametrize("name", THREATS)
def test_it_is_as_the_document_says(name: str, cluster: Cluster, database: Database) -> None:
    threat = THREATS[name]
    who, session = _carried_out(database, threat)
    with session:
        if threat.by_hand:
            threat.by_hand(cluster, database)
        write = _written(database, session if threat.in_session else None, threat.writes)
        if threat.after:
            session.execute(threat.after.encode())
    exit_code, out = _run(database, OWNER, "guards", "--format", "json")
    said = _guards(exit_code, out) if threat.asked == "guards" else _asked_otherwise(database, threat.asked)
    code, shown = _audit(database)
    found = [who, write, said or "ok", str(code), shown or "none", _fixed(database, exit_code)]
    assert dict(zip(HEADINGS[1:], found, strict=True)) == DOCUMENTED.get(name)


def _carried_out(database: Database, threat: Threat) -> tuple[str, Connection]:
    """Do it as the least of those who may; return who that is, and the session."""
    for user, who in ((APP, "the app's role"), (OWNER, "the tables' owner"), (DBA, "a superuser")):
        session = database.connect(user)
        try:
            session.execute(_placed(threat.does[0], database))
        except errors.InsufficientPrivilege:
            session.close()
            continue
        for statement in threat.does[1:]:
            session.execute(_placed(statement, database))
        return who, session
    raise AssertionError("not even a superuser may")


def _placed(statement: str, database: Database) -> bytes:
    where = {"{host}": str(database.running.sockets), "{port}": str(database.running.port)}
    for name, value in where.items():
        statement = statement.replace(name, value)
    return statement.encode()


def _written(database: Database, session: Connection | None, statement: str) -> str:
    """Write as the app, or in the session; return what became of it, as the plain columns have it."""
    try:
        if statement and session:
            session.execute(statement.encode())
        elif statement:
            database.run(APP, statement)
    except psycopg.IntegrityError as error:
        return f"refused: {error.sqlstate} `{error.diag.constraint_name}`"
    except psycopg.Error as error:
        return f"refused: {error.sqlstate}"
    broken = """
    select 1 from applications_application as application
    where application.status = 'approved' and not exists (
      select from quests_questparticipant as participant
      where participant.quest_id = application.quest_id and participant.user_id = application.applicant_id
        and participant.status <> 'dropped')
    """
    return "commits" if database.run(DBA, broken) else "healed"


def _asked_otherwise(database: Database, asked: str) -> str:
    """Return the same as `_guards` when they are asked in psql or with an option."""
    if asked == "psql":
        rows = database.run(DBA, "select kind, status from integrity.guard_status where status <> 'ok'")
        return ", ".join(sorted({" ".join(row) for row in rows}))
    return _guards(*_run(database, OWNER, *asked.split(), "--format", "json"))


def _guards(code: int, out: str) -> str:
    """Return what the guards say that is not ok, each kind and status once."""
    if code == 2:
        return "could not run"
    found = json.loads(out)
    assert code == (3 if found else 0)
    return ", ".join(sorted({f"{guard['kind']} {guard['status']}" for guard in found}))


def _audit(database: Database) -> tuple[int, str]:
    """Return its exit code and the violated rules, as far as it can count them."""
    code, out = _run(database, OWNER, "audit", "--format", "json")
    rules = json.loads(out)["rules"] if out.startswith("{") else []
    shown = [f"`{rule['rule']}`" for rule in rules if rule["violations"] and rule["severity"] == "error"]
    return code, ", ".join(sorted(shown))


def _fixed(database: Database, before: int) -> str:
    """Mend it as the least of those who can; return what that took, after the exit code of `guards`."""
    if before != 3:
        return "nothing to do" if before == 0 else "could not run"
    for user, outcome in ((OWNER, "mends it"), (DBA, "mends it, run by a superuser")):
        if _run(database, user, "guards", "--fix", "--yes")[0] == 0:
            return outcome
    _run(database, OWNER, "audit", "--fix-issues", "--yes", "--missing-participant", "create")
    if _run(database, OWNER, "guards", "--fix", "--yes")[0] == 0:
        return "mends it after the repair"
    if database.run(DBA, "select 1 where to_regclass('integrity.guard') is not null"):
        database.run(OWNER, "update integrity.backfill set last_id = default, finished_at = null")
        if _run(database, OWNER, "guards", "--fix", "--yes")[0] == 0:
            return "mends it after the repair and a backfill"
    return "a person decides"


def _run(database: Database, user: str, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["--database-url", database.url(user), *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout
