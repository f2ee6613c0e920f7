"""What starts before a command runs: it imports nothing that only another command needs."""

import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import typer

from checks.cli import app
from tests.support.database import url_of

DEPENDENCIES = {
    re.split(r"[^\w-]", requirement)[0].lower().replace("-", "_")
    for requirement in importlib.metadata.requires("quest-integrity") or ()
    if "extra ==" not in requirement
}
# The command line itself.
NEEDED = {"typer"}

# Ends with a message, and exit code 1, at the first call that fails or has imported something.
PROGRAM = """
import json, sys
from checks.cli import main

unwanted, calls = json.loads(sys.argv[1])
for call in calls:
    try:
        main(call)
    except SystemExit as end:
        imported = [name for name in unwanted if name in sys.modules]
        if end.code or imported:
            sys.exit(f"{call} ends with {end.code} and has imported {imported}")
"""


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield what to type for a command and those below it."""
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


def test_the_dependencies_are_imported_by_these_names() -> None:
    assert {"jinja2", "prometheus_client", "psycopg", "sqlalchemy", "typer"} < DEPENDENCIES
    assert [name for name in DEPENDENCIES if importlib.util.find_spec(name) is None] == []


def test_version_and_help_import_no_dependency_but_typer() -> None:
    calls = [["--version"], *([*path, "--help"] for path in commands(typer.main.get_command(app)))]
    assert ["--help"] in calls
    assert ["server", "url", "--help"] in calls
    given = json.dumps([sorted(DEPENDENCIES - NEEDED), calls])
    ran = subprocess.run([sys.executable, "-c", PROGRAM, given], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.count("Usage:") == len(calls) - 1


def test_an_audit_imports_only_what_it_uses(migrated: psycopg.Connection[Any]) -> None:
    unwanted = ["alembic", "jinja2", "prometheus_client", "sqlalchemy", "tenacity", "urllib.request", "xml.sax"]
    given = json.dumps([unwanted, [["--database-url", url_of(migrated), "audit"]]])
    ran = subprocess.run([sys.executable, "-c", PROGRAM, given], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
