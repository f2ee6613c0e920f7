"""Install and remove the objects of `sql/`: one object or one group of triggers per file, `<name>.v<version>.sql`.

The files name the app's tables in schema public; `localize` replaces it by the schema of the app.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from alembic import context, op

from checks import citus
from migrations.options import app_schema, is_offline

SQL_ROOT = Path(__file__).resolve().parent.parent / "sql"

APP_TABLE_NAMES = (
    "users_user",
    "quests_questcategory",
    "quests_quest",
    "applications_application",
    "quests_questparticipant",
)

_APP_TABLE = re.compile(rf"\bpublic\.({'|'.join(APP_TABLE_NAMES)})\b")
_OBJECT = re.compile(r"^comment on (function|procedure|trigger|view) (.+?) is$", re.MULTILINE)


def localize(sql: str) -> str:
    """Return `sql` with `public.<app table>` replaced by the app's own schema, quoted as needed."""
    schema = quoted_app_schema()
    return _APP_TABLE.sub(lambda match: f"{schema}.{match[1]}", sql)


def quoted_app_schema() -> str:
    """Return the name of the app's schema, quoted as needed."""
    return op.get_bind().dialect.identifier_preparer.quote(app_schema())


def driver() -> psycopg.Connection[Any]:
    """Return the psycopg connection below SQLAlchemy."""
    connection = op.get_bind().connection.driver_connection
    if not isinstance(connection, psycopg.Connection):
        raise TypeError(f"expected a psycopg connection, found {type(connection)}")
    return connection


def execute(sql: str) -> None:
    """Run `sql`, one or more statements, without parameters: SQLAlchemy would replace `:name` and `%` in it."""
    literal = localize(sql).strip().removesuffix(";")
    if is_offline():
        op.get_context().impl.static_output(f"{literal};")
    else:
        citus.execute(driver(), literal)


def source(name: str, version: int) -> str:
    """Return the text of `sql/<name>.v<version>.sql`, or on Citus of its variant, `….citus.sql`, if there is one.

    Raises:
        FileNotFoundError: there is no such object or version.
    """
    path = SQL_ROOT / f"{name}.v{version}.sql"
    variant = path.with_suffix(".citus.sql")
    return (variant if variant.exists() and on_citus() else path).read_text(encoding="utf-8")


def on_citus() -> bool:
    """Whether the app's tables are distributed over the nodes of a Citus cluster."""
    return bool(context.config.attributes.get("on_citus"))


@contextmanager
def app_search_path() -> Iterator[None]:
    """Resolve unqualified names in the app's schema; by default a migration resolves them in pg_catalog, see env.py."""
    execute(f"set local search_path = {quoted_app_schema()}")
    yield
    execute("set local search_path = pg_catalog, pg_temp")


def installing(name: str, version: int) -> str:
    """Return the text of one file of `sql/`, which is to be run now: see `checks.migrate.installed_files`."""
    text = source(name, version)
    if is_offline():
        context.config.attributes.setdefault("installed_files", {})[name] = localize(text)
    return text


def made_by(text: str) -> list[tuple[str, str]]:
    """Return the kind and the identity of each object that the text of a file of `sql/` creates."""
    return _OBJECT.findall(text)


def install(name: str, version: int) -> None:
    """Create or replace the objects of one file of `sql/`: `install("mechanism/mark_quest", 1)`."""
    execute(installing(name, version))


def remove(name: str, version: int) -> None:
    """Drop the objects that `install(name, version)` created, as listed by the COMMENT ON lines of the file."""
    if is_offline():
        context.config.attributes.get("installed_files", {}).pop(name, None)
    for kind, target in reversed(made_by(source(name, version))):
        execute(f"drop {kind} if exists {target}")


def install_all(names: tuple[str, ...], version: int = 1) -> None:
    """Install several files, in the given order."""
    for name in names:
        install(name, version)


def remove_all(names: tuple[str, ...], version: int = 1) -> None:
    """Remove several files, in the reverse of the given order."""
    for name in reversed(names):
        remove(name, version)
