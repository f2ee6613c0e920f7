"""`guards --probe` approves for real, as the app would, and leaves nothing behind."""

from typing import Any

import psycopg
import pytest

from tests.mechanism.roles import app_role
from tests.support import cli, factory
from tests.support.revisions import app_rows

_Connection = psycopg.Connection[Any]

PROBE = "select integrity.probe_approval()"


@pytest.mark.parametrize("rows", [False, True], ids=["empty", "with rows"])
def test_an_approval_works_and_leaves_nothing(rows: bool, migrated: _Connection) -> None:
    if rows:
        factory.application(migrated, factory.quest(migrated), factory.user(migrated))
    migrated.commit()
    before = app_rows(migrated)
    migrated.execute(PROBE)
    # Also for a caller who commits.
    migrated.commit()
    assert app_rows(migrated) == before
    assert migrated.execute("select count(*) from integrity.event").fetchone() == (0,)
    assert migrated.execute("select current_user = session_user").fetchone() == (True,)


@pytest.mark.parametrize(
    ("damage", "sqlstate"),
    [
        ("alter table quests_questparticipant add column guild integer not null", "23502"),
        ("alter table quests_questparticipant drop column progress_notes cascade", "42703"),
        ("alter table quests_questparticipant alter column progress_notes type integer using 0", "22P02"),
        ("alter table applications_application disable trigger user", "23514"),
        ("alter table quests_questparticipant add constraint full_house check (status <> 'joined')", "23514"),
        (
            "create function stop() returns trigger language plpgsql as"
            " $$ begin raise exception 'no' using errcode = 'P0001'; end $$;"
            " create trigger stop before insert on quests_questparticipant for each row execute function stop()",
            "P0001",
        ),
    ],
)
def test_what_breaks_an_approval_is_reported(damage: str, sqlstate: str, migrated: _Connection) -> None:
    migrated.execute(damage.encode())
    migrated.commit()
    with pytest.raises(psycopg.Error) as failure:
        migrated.execute(PROBE)
    assert failure.value.sqlstate == sqlstate
    migrated.rollback()

    done = cli.run(migrated, "guards", "--probe")
    assert done.code == 3
    assert f"SQLSTATE {sqlstate}" in done.err


def test_an_approval_without_effect_is_reported(migrated: _Connection) -> None:
    """Neither the mechanism nor the law: what nobody refuses is looked at."""
    migrated.execute("alter table applications_application disable trigger user")
    migrated.execute("alter table applications_application drop constraint integrity_application_marker")
    migrated.commit()
    with pytest.raises(psycopg.errors.IntegrityConstraintViolation) as failure:
        migrated.execute(PROBE)
    assert failure.value.sqlstate == "23000"


def test_columns_that_the_layer_does_not_know_are_filled(migrated: _Connection) -> None:
    """Every app has others, in any type."""
    migrated.execute(
        "create type mood as enum ('glad', 'sad');"
        " create table guild (id bigint primary key); insert into guild values (7);"
        " alter table quests_quest add column tags text[] not null, add column mood mood not null,"
        " add column seen date not null, add column more jsonb not null, add column short varchar(3) not null,"
        " add column guild_id bigint not null references guild"
    )
    migrated.commit()
    migrated.execute(PROBE)


def test_as_the_role_of_the_app(migrated: _Connection) -> None:
    """It needs no right in the layer's schema; one that it lacks on the app's tables shows."""
    with app_role(migrated) as name:
        migrated.commit()
        works = cli.run(migrated, "guards", "--probe", "--role", name)
        assert (works.code, works.out) == (0, "")
        migrated.execute(f'revoke insert on applications_application from "{name}"'.encode())
        migrated.commit()
        fails = cli.run(migrated, "guards", "--probe", "--role", name)
        assert fails.code == 3
        assert "SQLSTATE 42501" in fails.err


@pytest.mark.parametrize(
    "arguments", [("--probe", "--role", "nobody_of_this_name"), ("--role", "postgres")], ids=["no role", "no probe"]
)
def test_bad_input(arguments: tuple[str, ...], migrated: _Connection) -> None:
    migrated.commit()
    done = cli.run(migrated, "guards", *arguments)
    assert (done.code, done.out) == (2, "")
    assert "--role" in done.err
