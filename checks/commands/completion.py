"""What a shell completes beside commands and options: rules, runs, kinds and revisions.

A shell waits for it, so it gives up where a database does not answer at once, and never starts the embedded server.
"""

from contextlib import suppress
from typing import Any

import typer

CONNECT_SECONDS = 2
RULES = "select rule from integrity.rule order by position"
RUNS = "select id::text from integrity.repair_run order by id desc"
KINDS = "select kind from integrity.event_kind"


def rules(context: typer.Context, incomplete: str) -> list[str]:
    """Return the rules of the database, or else those of this package."""
    from checks import resources

    packaged = sorted(folder.name for folder in (resources.root() / "sql" / "rules").iterdir() if folder.is_dir())
    return _beginning(_read(context, RULES) or packaged, incomplete)


def runs(context: typer.Context, incomplete: str) -> list[str]:
    """Return the runs that can be undone, newest first."""
    return _beginning(_read(context, RUNS), incomplete)


def kinds(context: typer.Context, incomplete: str) -> list[str]:
    """Return the kinds of events."""
    return _beginning(_read(context, KINDS), incomplete)


def revisions(incomplete: str) -> list[str]:
    """Return the revisions of this package, and the names of its two ends."""
    from checks import migrate

    return _beginning(["base", *migrate.revisions(), "head"], incomplete)


def _beginning(names: list[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _read(context: typer.Context, query: str) -> list[str]:
    """Return what a query finds in the database that the command line names; nothing if it cannot be asked."""
    import psycopg

    from checks import target

    # Whatever goes wrong, a shell has no place for a message.
    with suppress(Exception):
        wanted: Any = context.find_root().params.get("database_url")
        found = target.resolve(wanted, start=False)
        with psycopg.connect(found.conninfo, connect_timeout=CONNECT_SECONDS, autocommit=True) as connection:
            connection.execute("set statement_timeout = '2s'")
            return [str(row[0]) for row in connection.execute(query.encode())]
    return []
