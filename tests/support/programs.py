"""The programs of the engine under test, and of this project, as a shell would start them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg

from checks.engine import find_binaries
from tests.support.database import url_of

ROOT = Path(__file__).resolve().parents[2]
_Connection = psycopg.Connection[Any]


def program(name: str) -> Path:
    """Return psql, pg_dump, pgbench, … of the server that the tests run on."""
    return find_binaries() / name


def environment(connection: _Connection) -> dict[str, str]:
    """Return an environment in which the connection's database is the one that counts."""
    return {**os.environ, "DATABASE_URL": url_of(connection)}


def psql(connection: _Connection, script: str) -> str:
    """Run a script as `psql -f` does and return what it printed; the first error ends it."""
    return _run([program("psql"), url_of(connection), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"], script)


def dump_schema(connection: _Connection, schema: str | None = None) -> list[str]:
    """Return what `pg_dump --schema-only` writes about one schema, or about the whole database."""
    chosen = [] if schema is None else ["-n", schema]
    text = _run([program("pg_dump"), "-s", *chosen, url_of(connection)])
    # A key of its own in every dump, so that a restore cannot be tricked into running commands.
    return [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


def alembic(connection: _Connection, *arguments: str) -> subprocess.Popen[str]:
    """Start `alembic` on the connection's database, as on the command line."""
    return subprocess.Popen(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=ROOT,
        env=environment(connection),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _run(command: list[str | Path], stdin: str | None = None) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
