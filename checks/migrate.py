"""Alembic, driven from Python: the same migrations for the command line, the demo and the tests.

Alembic is imported where something migrates: with SQLAlchemy it takes as long as everything else that a command starts.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TextIO

import psycopg

from checks import query, resources
from checks.errors import UserError
from checks.target import Target

if TYPE_CHECKING:
    from alembic.config import Config


def config(target: Target | None, x: Sequence[str] = (), stdout: TextIO = sys.stdout) -> Config:
    """Return Alembic's configuration for a database.

    Args:
        target: The database, which ``env.py`` finds as ``config.attributes["target"]``.
        x: What the command line gives as ``-x name=value``, each ``name=value``.
        stdout: Where Alembic's commands print.
    """
    from alembic.config import Config

    # Alembic looks for the x arguments where its own command line puts them.
    return Config(
        resources.root() / "alembic.ini",
        stdout=stdout,
        cmd_opts=argparse.Namespace(x=list(x)),
        attributes={"target": target},
    )


def upgrade(target: Target, revision: str = "head", x: Sequence[str] = ()) -> None:
    """Migrate a database forward.

    Args:
        target: The database.
        revision: The revision to stop at.
        x: As in ``config``.

    Raises:
        UserError: A newer version migrated it, there is no such revision, or it cannot be reached.
    """
    _migrate("upgrade", target, revision, x)


def downgrade(target: Target, revision: str, x: Sequence[str] = ()) -> None:
    """Migrate a database back.

    Args:
        target: The database.
        revision: The revision to stop at; ``base`` removes all of the layer.
        x: As in ``config``.

    Raises:
        UserError: A newer version migrated it, there is no such revision, or it cannot be reached.
    """
    _migrate("downgrade", target, revision, x)


def current_revision(connection: psycopg.Connection[Any]) -> str | None:
    """Return the database's revision, or ``None`` if it is not migrated."""
    if not query.value(connection, "select to_regclass('integrity.alembic_version') is not null"):
        return None
    version: str | None = query.value(connection, "select version_num from integrity.alembic_version")
    return version


def revisions() -> list[str]:
    """Return the revisions that this version of the package knows, oldest first: they are named as their files are."""
    return sorted(file.stem for file in (resources.root() / "migrations" / "versions").glob("[0-9]*.py"))


def head_revision() -> str:
    """Return the newest revision this version of the package knows."""
    return revisions()[-1]


def require_current(connection: psycopg.Connection[Any]) -> None:
    """Make sure that the database is at the newest revision.

    Raises:
        UserError: It is not migrated, or at an older or unknown revision.
    """
    current = current_revision(connection)
    if current is None:
        raise UserError("the database is not migrated: run `quest-integrity upgrade`")
    require_known(current)
    if current != head_revision():
        raise UserError(
            f"the database is at the older revision {current}, expected {head_revision()}: "
            "run `quest-integrity upgrade`"
        )


def installed_files(revision: str, app_schema: str) -> dict[str, str]:
    """Return the text of the files of `sql/` that are installed at a revision, by name, as the migrations run them.

    Args:
        revision: A revision that this version of the package knows.
        app_schema: The schema of the app's tables, which the text names.
    """
    from alembic import command

    printing = config(None, [f"app-schema={app_schema}"])
    printing.output_buffer = io.StringIO()
    with resources.own_migrations():
        command.upgrade(printing, revision, sql=True)
    found: dict[str, str] = printing.attributes["installed_files"]
    return found


def _migrate(way: Literal["upgrade", "downgrade"], target: Target, revision: str, x: Sequence[str]) -> None:
    from alembic import command, util

    try:
        with resources.own_migrations():
            getattr(command, way)(config(target, x), revision)
    except util.CommandError as error:
        raise UserError(f"cannot migrate to {revision}: {error}; `alembic history` lists the revisions") from error


def require_known(current: str) -> None:
    """Make sure that this version of the package knows a revision.

    Raises:
        UserError: It does not.
    """
    if current not in revisions():
        raise UserError(
            f"the database was migrated by a newer version of quest-integrity (revision {current} is unknown "
            "here): upgrade the package"
        )
