"""Detach and attach: what goes, what stays, and that both can be stopped anywhere and run again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import make_conninfo
from pytest_postgresql import factories

from checks import attachment, ddl, guards, migrate
from checks.errors import UserError
from checks.target import Target
from tests.adoption.conftest import SURROUNDINGS
from tests.support import factory, plant, templates
from tests.support.catalog import Snapshot, changed, snapshot
from tests.support.cli import blocked, finish, run
from tests.support.database import another, copy_of, target_of, url_of
from tests.support.proof import enforce
from tests.support.revisions import app_rows

_Connection = psycopg.Connection[Any]

POLICY = ddl.LockPolicy(timeout=0.2, retries=2)
OWN_RULE = """
create view integrity.lonely_owner with (security_barrier=true) as
select
  'lonely_owner'::text as rule, 'warning'::text as severity, quest.id as quest_id, quest.creator_id as user_id,
  null::bigint as application_id, null::bigint as participant_id, 'nobody applied: ' || quest.status as message,
  '{}'::jsonb as expected, '{}'::jsonb as found, null::text as repair, 'lonely_owner/' || quest.id as key
from public.quests_quest as quest
where not exists (select from public.applications_application as application where application.quest_id = quest.id);
comment on view integrity.lonely_owner is 'Of ours.';
comment on column integrity.lonely_owner.message is 'For people.';
grant select on integrity.lonely_owner to public;
grant select (key) on integrity.lonely_owner to integrity_reader with grant option;
select integrity.add_rule('lonely_owner', 'warning', 'lonely owners', 'Somebody applies.')
"""


@contextmanager
def session(connection: _Connection) -> Iterator[_Connection]:
    connection.commit()
    with another(connection, autocommit=True) as other:
        yield other


def detach(connection: _Connection) -> int:
    with session(connection) as other:
        return attachment.detach(other, POLICY)


def attach(connection: _Connection) -> bool:
    with session(connection) as other:
        return attachment.attach(other, POLICY)


def damage(connection: _Connection) -> list[str]:
    with session(connection) as other:
        return [f"{guard.kind} {guard.identity}: {guard.status}" for guard in guards.damaged(other)]


def events(connection: _Connection) -> list[Any]:
    found = connection.execute("select kind, before, after from integrity.event where kind ~ 'tached$' order by id")
    return found.fetchall()


def manifest(connection: _Connection) -> list[Any]:
    return connection.execute(
        "select kind, identity, expected, definition, waiting from integrity.guard order by 1, 2"
    ).fetchall()


def _load_adopted(**where: Any) -> None:
    templates.app_tables(plant.sound_rows)(**where)
    with templates.target_of_template(**where).connect() as connection:
        connection.execute(SURROUNDINGS)
        connection.execute(OWN_RULE)


# With rows, with a rule that somebody added, and with what an app has around its tables.
adopted_server = factories.postgresql_noproc(dbname="detachable", load=[_load_adopted])
adopted = copy_of("adopted_server")


def test_back_as_it_was(adopted: _Connection) -> None:
    # The guards call this damage, and detaching is not the moment to mend it.
    adopted.execute("grant select on integrity.violations to pg_monitor")
    adopted.commit()
    before, rows, known = snapshot(adopted), app_rows(adopted), manifest(adopted)
    assert detach(adopted) > 30
    assert attach(adopted)
    assert changed(before, snapshot(adopted)) == {}
    assert app_rows(adopted) == rows
    assert manifest(adopted) == known
    (first, _, after), (second, began, _) = events(adopted)
    assert (first, second) == ("detached", "attached")
    assert after["objects"] > 30
    assert began.keys() == {"detached_at"}
    factory.application(adopted, factory.quest(adopted), factory.user(adopted), status="approved")
    factory.quest(adopted)
    adopted.commit()
    assert adopted.execute("select count(*) from integrity.violations where rule = 'lonely_owner'").fetchone() == (1,)


def test_only_views_and_triggers_go(adopted: _Connection) -> None:
    before = snapshot(adopted)
    rows = {
        table: adopted.execute(f"table integrity.{table}".encode()).fetchall()
        for table in ("event", "rule", "law", "guard")
    }
    detach(adopted)
    gone = changed(before, snapshot(adopted))
    assert {kind for kind, _ in gone} == {"relation", "column", "view", "trigger", "comment", "grant"}
    assert all(after is None for _, after in gone.values())
    views = {name for kind, name in gone if kind == "view"}
    assert {name for kind, name in gone if kind == "relation"} == views
    assert "integrity.lonely_owner" in views
    assert all(name.startswith("integrity.") for name in views)
    assert not [name for kind, name in gone if kind == "trigger" and not name.split(".")[2].startswith("integrity_")]
    # The append-only log and its partitions keep theirs.
    assert not [name for kind, name in gone if kind == "trigger" and name.startswith("integrity.")]
    now = {table: adopted.execute(f"table integrity.{table}".encode()).fetchall() for table in rows}
    assert now["event"][: len(rows["event"])] == rows["event"]
    assert {**now, "event": None} == {**rows, "event": None}


def test_both_are_idempotent(adopted: _Connection) -> None:
    before = snapshot(adopted)
    assert not attach(adopted)
    assert detach(adopted) > 0
    since = attachment.since(adopted)
    assert detach(adopted) == 0
    assert attachment.since(adopted) == since
    assert attach(adopted)
    assert not attach(adopted)
    assert changed(before, snapshot(adopted)) == {}
    assert [kind for kind, *_ in events(adopted)] == ["detached", "attached"]


def test_one_row_of_damage(adopted: _Connection) -> None:
    detach(adopted)
    assert damage(adopted) == ["layer integrity: detached"]
    # In psql too.
    found = adopted.execute("select kind, status from integrity.guard_status where damage").fetchall()
    assert found == [("layer", "detached")]
    adopted.execute("alter table quests_quest drop constraint integrity_quest_status_known")
    assert damage(adopted) == [
        "layer integrity: detached",
        "constraint integrity_quest_status_known on public.quests_quest: missing",
    ]


def test_every_mismatch_in_one_message(adopted: _Connection) -> None:
    detach(adopted)
    adopted.execute("alter table quests_questparticipant rename column joined_at to since")
    adopted.execute("alter table users_user rename column username to login")
    adopted.execute("alter table quests_questparticipant add column mood text not null default 'x'")
    adopted.execute("alter table quests_questparticipant alter column mood drop default")
    adopted.commit()
    before = snapshot(adopted)
    with pytest.raises(attachment.DetachedError) as refusal:
        attach(adopted)
    said = str(refusal.value)
    for name in (
        "users_user.username",
        "quests_questparticipant.joined_at",
        "questparticipant.since",
        "questparticipant.mood",
    ):
        assert name in said
    assert changed(before, snapshot(adopted)) == {}
    assert attachment.since(adopted)

    adopted.execute("alter table quests_questparticipant rename column since to joined_at")
    adopted.execute("alter table users_user rename column login to username")
    adopted.execute("alter table quests_questparticipant drop column mood")
    assert attach(adopted)
    assert damage(adopted) == []


def test_stand_ins_come_back_where_their_constraint_waits(app_only: _Connection) -> None:
    plant.approved_without_participant(app_only)
    plant.open_quest_with_participant(app_only)
    app_only.commit()
    migrate.upgrade(target_of(app_only))
    before = snapshot(app_only)
    stand_ins = {name for kind, name in before if kind == "trigger" and name.endswith(("_heal", "_end_outlived"))}
    assert len(stand_ins) == 2
    detach(app_only)
    assert attach(app_only)
    assert changed(before, snapshot(app_only)) == {}

    detach(app_only)
    app_only.execute("update quests_quest set status = 'in-progress' where assigned_to_id is not null")
    app_only.commit()
    assert "integrity_status_matches_assignment" not in {each.name for each in enforce(app_only)}
    assert attach(app_only)
    gone = {name for kind, name in changed(before, snapshot(app_only)) if kind == "trigger"}
    assert gone == {name for name in stand_ins if name.endswith("_heal")}
    assert damage(app_only) == []


def test_refused_where_only_triggers_keep_the_law(dirty: _Connection) -> None:
    migrate.upgrade(target_of(dirty))
    before = snapshot(dirty)
    ran = run(dirty, "detach")
    assert ran.code == 2
    assert "integrity_approved_application_key" in ran.err
    assert "quest-integrity validate" in ran.err
    assert changed(before, snapshot(dirty)) == {}


@pytest.mark.parametrize(
    ("made", "named"),
    [
        ("create view public.wrong as select key from integrity.violations", "view public.wrong"),
        (
            "create materialized view integrity.wrong as select 1 from integrity.violations",
            "materialized view integrity.wrong",
        ),
        (
            "create function public.f() returns setof integrity.violations language sql return null",
            "function public.f()",
        ),
    ],
)
def test_refused_where_others_would_lose_something(made: str, named: str, adopted: _Connection) -> None:
    if "return null" in made:
        made = (
            "create function public.f() returns setof integrity.violations language sql as 'table integrity.violations'"
        )
    adopted.execute(made.encode())
    adopted.commit()
    before = snapshot(adopted)
    ran = run(adopted, "detach")
    assert (ran.code, named in ran.err, "Traceback" in ran.err) == (2, True, False)
    assert changed(before, snapshot(adopted)) == {}


def test_manifest_that_was_altered_is_not_sealed_again(adopted: _Connection) -> None:
    adopted.execute(
        "update integrity.guard set definition = 'select 1' where kind = 'view' and identity ~ 'unknown_status'"
    )
    detach(adopted)
    adopted.execute("alter table quests_quest alter column slug type text")
    assert attach(adopted)
    assert "manifest integrity.guard: altered" in damage(adopted)


def test_waits_for_its_lock_and_gives_up_whole(adopted: _Connection) -> None:
    before = snapshot(adopted)
    with session(adopted) as holder, holder.transaction():
        holder.execute("select from quests_quest limit 1")
        with pytest.raises(errors.LockNotAvailable):
            detach(adopted)
    assert changed(before, snapshot(adopted)) == {}
    detach(adopted)
    with session(adopted) as holder, holder.transaction():
        holder.execute("select from quests_quest limit 1")
        with pytest.raises(errors.LockNotAvailable):
            attach(adopted)
    # The views are back, and without the triggers it is detached.
    assert damage(adopted) == ["layer integrity: detached"]
    assert detach(adopted) > 0
    assert attach(adopted)
    assert changed(before, snapshot(adopted)) == {}
    assert [kind for kind, *_ in events(adopted)] == ["detached", "attached"]


@pytest.mark.parametrize("command", ["detach", "attach"])
def test_lost_connection(command: str, adopted: _Connection) -> None:
    before = snapshot(adopted)
    if command == "attach":
        detach(adopted)
    with session(adopted) as observer, session(adopted) as holder:
        holder.autocommit = False
        with blocked(holder, observer, "lock table quests_quest in row exclusive mode", command) as process:
            observer.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name = 'quest-integrity' and datname = current_database()"
            )
            ran = finish(process)
    assert (ran.code, ran.err.splitlines()[-1].startswith("error: "), "Traceback" in ran.err) == (2, True, False)
    if command == "attach":
        assert damage(adopted) == ["layer integrity: detached"]
        assert attach(adopted)
    assert changed(before, snapshot(adopted)) == {}


@pytest.mark.parametrize("command", ["detach", "attach"])
def test_no_permission(command: str, adopted: _Connection) -> None:
    if command == "attach":
        detach(adopted)
    before = snapshot(adopted)
    adopted.execute("drop role if exists nobody_of_note")
    adopted.execute("create role nobody_of_note login in role integrity_reader")
    adopted.commit()
    try:
        info = adopted.info
        where = make_conninfo(host=info.host, port=info.port, dbname=info.dbname, user="nobody_of_note")
        with (
            Target(where, "test").connect(autocommit=True) as other,
            pytest.raises((errors.InsufficientPrivilege, UserError)),
        ):
            getattr(attachment, command)(other, POLICY)
        assert changed(before, snapshot(adopted)) == {}
    finally:
        adopted.execute("drop role nobody_of_note")
        adopted.commit()


def test_not_migrated(app_only: _Connection) -> None:
    for command in (["detach"], ["attach"], ["around", "--", "true"]):
        ran = run(app_only, *command)
        assert (ran.code, ran.err.splitlines()[-1]) == (
            2,
            "error: the database is not migrated: run `quest-integrity upgrade`",
        )


SENTENCE = "error: the layer is detached since "


def test_commands_meanwhile(adopted: _Connection, tmp_path: Any) -> None:
    detach(adopted)
    for command in (
        ["audit"],
        ["audit", "--fix-issues", "--yes"],
        ["undo", "1"],
        ["rules"],
        ["explain", "duplicate_approval"],
        ["events"],
        ["upgrade"],
        ["downgrade", "0009_validate"],
    ):
        ran = run(adopted, *command)
        assert (ran.code, ran.out) == (3, ""), command
        assert ran.err.splitlines()[-1].startswith(SENTENCE), command
        assert "quest-integrity attach" in ran.err
    for command in (["validate"], ["repairs"], ["history"]):
        assert run(adopted, *command).code == 0, command
    ran = run(adopted, "guards")
    assert (ran.code, ran.out) == (3, "")
    assert "the layer is detached since " in ran.err
    page = tmp_path / "page.html"
    assert run(adopted, "report", "--html", page).code == 0
    assert "the layer is detached since " in page.read_text()
    ran = run(adopted, "attach")
    assert ran.code == 0
    assert "0 errors, 0 warnings" in ran.err
    assert run(adopted, "guards").code == 0
    assert run(adopted, "report", "--html", page).code == 0
    assert "detached" not in page.read_text()


def test_metrics_meanwhile(adopted: _Connection) -> None:
    assert "\nquest_integrity_attached 1.0\n" in run(adopted, "metrics").out
    detach(adopted)
    ran = run(adopted, "metrics")
    assert (ran.code, "\nquest_integrity_attached 0.0\n" in ran.out) == (0, True)
    assert "quest_integrity_violations{" not in ran.out
    assert "\nquest_integrity_guard_damage 1.0\n" in ran.out


def test_leaving_meanwhile(app_only: _Connection) -> None:
    before: Snapshot = snapshot(app_only)
    migrate.upgrade(target_of(app_only))
    detach(app_only)
    assert run(app_only, "downgrade", "base", "-x", "drop-records=true").code == 0
    assert changed(before, snapshot(app_only)) == {}


def test_files_are_those_of_the_revision(migrated: _Connection) -> None:
    """Nothing that a later revision brings, and the app's tables where they are."""
    files = migrate.installed_files("0007_law", "The App")
    assert "mechanism/mark_quest" in files
    assert "law/quest_heal" in files
    assert "history/metric" not in files
    assert 'on "The App".quests_quest' in files["mechanism/mark_quest"]
    assert url_of(migrated)
