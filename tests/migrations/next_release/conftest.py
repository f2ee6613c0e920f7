"""The package of the next release: a copy of this one with the overlay laid over it."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.cli import SECONDS, Ran
from tests.support.database import url_of
from tests.support.programs import ROOT

OVERLAY = Path(__file__).with_name("overlay")
COPIED = ("checks", "migrations", "sql", "docs")


@dataclass(frozen=True)
class Package:
    """A folder with a version of the package."""

    folder: Path

    def run(self, connection: psycopg.Connection[Any], *arguments: object) -> Ran:
        """Run its command on the connection's database, in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-c", "from checks.cli import main; main()", *map(str, arguments)],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder), "DATABASE_URL": url_of(connection)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)


def copy_of_package(folder: Path) -> Package:
    """Copy this version into an empty folder."""
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "alembic.ini", folder)
    return Package(folder)


@pytest.fixture(scope="session")
def next_release(tmp_path_factory: pytest.TempPathFactory) -> Package:
    made = copy_of_package(tmp_path_factory.mktemp("next_release"))
    shutil.copytree(OVERLAY, made.folder, dirs_exist_ok=True)
    return made
