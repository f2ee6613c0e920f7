"""The package of the next release: a copy of this one with the overlay laid over it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psycopg
import pytest

from tests.support.cli import SECONDS, Ran
from tests.support.database import url_of
from tests.support.programs import ROOT

OVERLAY = Path(__file__).with_name("overlay")
COPIED = ("checks", "migrations", "sql", "docs")
# One process for all commands: to import the package takes longer than most of them.
SERVE = """
import json, sys
from typer.testing import CliRunner
from checks.cli import app

for line in sys.stdin:
    ran = CliRunner().invoke(app, json.loads(line))
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    print(json.dumps([ran.exit_code, ran.stdout, ran.stderr]), flush=True)
"""


@dataclass(frozen=True)
class Package:
    """A version of the package, in a process that has imported it."""

    requests: IO[str]
    answers: IO[str]

    def run(self, connection: psycopg.Connection[Any], *arguments: object) -> Ran:
        """Run its command on the connection's database."""
        command = ["--database-url", url_of(connection), *map(str, arguments)]
        self.requests.write(json.dumps(command) + "\n")
        self.requests.flush()
        return Ran(*json.loads(self.answers.readline()))


@contextmanager
def copy_of_package(folder: Path, overlay: Path | None = None) -> Iterator[Package]:
    """Copy this version into an empty folder, lay what is in another over it, and start it."""
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "alembic.ini", folder)
    if overlay is not None:
        shutil.copytree(overlay, folder, dirs_exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    program = [sys.executable, "-c", SERVE]
    pipe = subprocess.PIPE
    with subprocess.Popen(program, cwd=folder, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Package(process.stdin, process.stdout)
        process.stdin.close()
        assert process.wait(timeout=SECONDS) == 0


@pytest.fixture(scope="session")
def next_release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Package]:
    with copy_of_package(tmp_path_factory.mktemp("next_release"), OVERLAY) as package:
        yield package
