"""Write the pages that say what a migrated database has in its catalog: `make docs`."""

import re
import sys
from pathlib import Path
from typing import Any

import jinja2
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from checks import migrate, report, rules, server
from checks.target import Target

FOLDER = Path(__file__).parent
PAGES = {template.with_suffix(""): template for template in sorted(FOLDER.glob("*.md.j2"))}
TRANSITIONS = FOLDER / "transitions.sql"
SQL = FOLDER.parent / "sql"
README = re.compile(
    r"# (?P<title>.+)\n\n(?P<holds>(?:.+\n)+)\n(?:.+\n)+\n"
    r"Installed by (?P<migrations>.+)\. Tests: `(?P<tests>.+)`\. Chapter: \[.+\]\(\.\./\.\./docs/(?P<chapter>.+)\)\.\n"
)

QUERIES = {
    "law": """
        select name, relation, kind,
          coalesce(nullif(definition, ''), format('unique (%s)', columns)) as definition
        from integrity.law
        order by position
    """,
    "guards": "select * from integrity.guard order by position",
    "nodes": report.QUERIES["nodes"],
    "edges": report.QUERIES["edges"],
    "triggers": """
        select
          split_part(identity, ' on ', 1) as name,
          facts ->> 'table' as relation,
          facts ->> 'fires' as fires,
          obj_description(object_id, 'pg_trigger') as comment
        from integrity.guard_found
        where kind = 'trigger' and not facts ? 'of the parent'
          and not starts_with(facts ->> 'table', 'integrity.event_')
        order by 2, 1
    """,
    "stand_ins": """
        select name as stands_in_for, stand_in as name, relation
        from integrity.law
        where stand_in is not null
        order by position
    """,
}


def folders() -> list[dict[str, str]]:
    """Return what the README of each folder of sql/ says: folder, title, holds, migrations, tests and chapter.

    Raises:
        ValueError: a README is not of the form that the others have.
    """
    found = []
    for readme in sorted(SQL.glob("*/README.md")):
        said = README.fullmatch(readme.read_text(encoding="utf-8"))
        if said is None:
            raise ValueError(f"{readme}: expected a title, what it holds, what to read, and where the rest is")
        holds = said["holds"].strip().replace("\n", " ")
        found.append({**said.groupdict(), "folder": f"sql/{readme.parent.name}/", "holds": holds})
    return found


def pages(connection: psycopg.Connection[Any]) -> dict[Path, str]:
    """Return what each page has to say about a migrated database that has no rows.

    Plays `transitions.sql` first, so that the event log has every change of status there is; nothing is committed.

    Args:
        connection: to the database; its transaction is rolled back.

    Returns:
        The text of each page by its path.
    """
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=jinja2.select_autoescape(),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    with connection.transaction(force_rollback=True), connection.cursor(row_factory=dict_row) as cursor:
        connection.execute(TRANSITIONS.read_bytes())
        data: dict[str, Any] = {name: cursor.execute(sql.SQL(query)).fetchall() for name, query in QUERIES.items()}
        data["rules"] = rules.read(connection)
    data["folders"] = folders()
    return {page: found.get_template(template.name).render(data) for page, template in PAGES.items()}


def main() -> None:
    """Write the pages from a throw-away database."""
    with server.throwaway() as running:
        target = Target(running.url, "throw-away")
        migrate.upgrade(target)
        with target.connect() as connection:
            for page, text in pages(connection).items():
                page.write_text(text, encoding="utf-8")
                print(page, file=sys.stderr)


if __name__ == "__main__":
    main()
