"""`-x key=value`: what is not understood is refused before anything is done."""

from typing import Any

import psycopg
import pytest

from checks import migrate
from checks.errors import UserError
from migrations.options import Options, parse
from tests.support.catalog import snapshot
from tests.support.database import target_of

_Connection = psycopg.Connection[Any]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], Options()),
        (["app-schema=game"], Options(app_schema="game")),
        (["app_schema=game"], Options(app_schema="game")),
        (["drop-app-tables=true"], Options(drop_app_tables=True)),
        (["drop-records=true"], Options(drop_records=True)),
        (["lock-timeout=500ms"], Options(lock_timeout=0.5)),
        (["lock-timeout=1.5s"], Options(lock_timeout=1.5)),
        (["lock-timeout=1min"], Options(lock_timeout=60)),
        (["lock-timeout=3"], Options(lock_timeout=3)),
        (["lock-retries=7"], Options(lock_retries=7)),
        (["backfill-batch=100", "backfill-pause=20ms"], Options(backfill_batch=100, backfill_pause=0.02)),
        (["backfill-pause=0"], Options(backfill_pause=0)),
    ],
)
def test_understood(given: list[str], expected: Options) -> None:
    assert parse(dict(each.split("=") for each in given)) == expected


@pytest.mark.parametrize(
    "given",
    [
        "lock-timout=2s",
        "appschema=public",
        "lock-timeout",
        "lock-timeout=",
        "lock-timeout=soon",
        "lock-timeout=2h",
        "lock-timeout=-1s",
        "lock-timeout=2s;drop table users_user",
        # PostgreSQL takes 0 for "wait for ever", which is what the option is there to prevent.
        "lock-timeout=0",
        "lock-timeout=0.1ms",
        # More milliseconds than PostgreSQL can count.
        "lock-timeout=100000min",
        "lock-retries=0",
        "lock-retries=-1",
        "lock-retries=2.5",
        "lock-retries=many",
        "backfill-batch=0",
        "backfill-batch=1e3",
        "backfill-batch=³",
        "backfill-batch=99999999999",
        "backfill-pause=-1",
        "drop-app-tables=yes",
        "drop-records=1",
        "app-schema=",
        "app-schema=no_such_schema",
        "app-schema=PUBLIC",
        "app-schema=integrity",
        "app-schema=pg_catalog",
        "app-schema=100%",
        "app-schema=a:b",
        "app-schema=o'brien",
        'app-schema="quoted"',
    ],
)
def test_refused(given: str, empty: _Connection) -> None:
    before = snapshot(empty)
    with pytest.raises(UserError):
        migrate.upgrade(target_of(empty), x=[given])
    assert snapshot(empty) == before


def test_another_schema_than_the_installed_one(migrated: _Connection) -> None:
    migrated.execute("create schema elsewhere")
    migrated.commit()
    before = snapshot(migrated)
    for command in (migrate.upgrade, migrate.downgrade):
        with pytest.raises(UserError):
            command(target_of(migrated), "0005_backfill", x=["app-schema=elsewhere"])
    assert snapshot(migrated) == before


def test_the_installed_schema_may_be_named_again(migrated: _Connection) -> None:
    migrate.downgrade(target_of(migrated), "0009_validate", x=["app-schema=public"])
    migrate.upgrade(target_of(migrated), x=["app-schema=public"])
    assert migrate.current_revision(migrated) == migrate.head_revision()
