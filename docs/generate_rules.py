"""Write docs/rules.md from the rules as a migrated database has them: `make docs`."""

import sys
from pathlib import Path
from typing import Any

import psycopg

from checks import migrate, rules, server
from checks.target import Target

PAGE = Path(__file__).parent / "rules.md"
HEAD = """\
# The rules

A rule is a view `integrity.<rule>` with one row per violation. `quest-integrity rules` lists them with counts,
`quest-integrity explain RULE` prints what is here, `quest-integrity explain KEY` all there is to know about one
violation. This page is written by `make docs`; a test says when it is stale.

| rule | severity | repair |
|---|---|---|
"""


def page(connection: psycopg.Connection[Any]) -> str:
    """Return the page for the rules of a database."""
    known = rules.read(connection)
    rows = "".join(
        f"| [`{rule.rule}`](#{rule.rule}) | {rule.severity} | {'yes' if rule.repair else 'a person decides'} |\n"
        for rule in known
    )
    return HEAD + rows + "".join(f"\n{section(rule)}" for rule in known)


def section(rule: rules.Rule) -> str:
    """Return what there is to say about one rule."""
    by = ", ".join(f"[`{name}`](errors.md#{name})" for name in rule.enforced_by) or "nothing: it is reported only"
    mended = rule.repair_meaning.partition(": ")[2] if rule.repair_meaning else "none, a person decides."
    return (
        f"## {rule.rule}\n\n{rule.meaning}\n\n"
        f"- **Severity:** {rule.severity}; {rule.category}\n"
        f"- **Broken by:** {rule.broken_by}\n"
        f"- **Repair:** {mended}\n"
        f"- **Enforced by:** {by}\n"
        f"- **Defined in:** [`sql/views/{rule.rule}.v1.sql`](../sql/views/{rule.rule}.v1.sql)\n"
    )


def main() -> None:
    """Write the page from a throw-away database."""
    with server.throwaway() as running:
        target = Target(running.url, "throw-away")
        migrate.upgrade(target)
        with target.connect() as connection:
            PAGE.write_text(page(connection), encoding="utf-8")
    print(PAGE, file=sys.stderr)


if __name__ == "__main__":
    main()
