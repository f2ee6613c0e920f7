"""squawk on every DDL statement that an adoption runs on the app's tables, as it was sent."""

import json
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import psycopg
import pytest

from checks import migrate
from migrations.sql_objects import APP_TABLE_NAMES
from tests.support.database import target_of

_Connection = psycopg.Connection[Any]

SQUAWK = Path(sysconfig.get_path("scripts"), "squawk")
# It reads a file as one migration. Ours is a series of steps that each start from the catalog, so that every one can be
# run again (tests/adoption/test_kills.py), under timeouts that env.py sets (tests/adoption/test_locks.py).
NOT_FOR_US = ("prefer-robust-stmts", "require-lock-timeout", "require-statement-timeout")
ON_AN_APP_TABLE = re.compile(
    r"^\s*(?:create (?:or replace trigger|(?:unique )?index)|alter table|drop (?:trigger|index))\b.*?\b"
    rf"(?:{'|'.join(APP_TABLE_NAMES)})\b",
    re.S,
)


@pytest.fixture
def sent(app_only: _Connection, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Adopt a database; return the statements that change its tables."""
    statements: list[str] = []
    execute = psycopg.Cursor.execute

    def note(cursor: psycopg.Cursor[Any], query: Any, *arguments: Any, **options: Any) -> Any:
        text = query.decode() if isinstance(query, bytes) else str(query)
        if ON_AN_APP_TABLE.match(text):
            statements.append(text.strip().rstrip(";"))
        return execute(cursor, query, *arguments, **options)

    app_only.commit()
    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Cursor, "execute", note)
        migrate.upgrade(target_of(app_only))
    return statements


def complaints(statements: list[str], folder: Path) -> set[str]:
    """Return the rules that squawk finds broken."""
    path = folder / "adoption.sql"
    path.write_text(";\n".join(statements) + ";\n")
    done = subprocess.run(
        [SQUAWK, "--pg-version=14", "--reporter=json", f"--exclude={','.join(NOT_FOR_US)}", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return {found["rule_name"] for found in json.loads(done.stdout)}


def test_nothing_is_found(sent: list[str], tmp_path: Path) -> None:
    assert len(sent) > 30
    assert any("concurrently" in statement for statement in sent)
    assert complaints(sent, tmp_path) == set()


@pytest.mark.parametrize(
    ("safe", "unsafe", "rule"),
    [
        (" concurrently", "", "require-concurrent-index-creation"),
        (" not valid", "", "adding-foreign-key-constraint"),
    ],
)
def test_what_blocks_is_found(safe: str, unsafe: str, rule: str, sent: list[str], tmp_path: Path) -> None:
    assert rule in complaints([statement.replace(safe, unsafe) for statement in sent], tmp_path)
