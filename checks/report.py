"""Write the state of a database as one HTML page that needs no network."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

import jinja2
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from checks import attachment, violations

MOST_LISTED = 10_000

QUERIES = {
    "rules": """
        select
            summary.*,
            rule.meaning,
            to_regproc('integrity.repair_' || summary.rule) is not null as repairable
        from integrity.violation_summary as summary
        inner join integrity.rule as rule on summary.rule = rule.rule
        order by summary.severity, summary.violations desc, rule.position
    """,
    "undecided": "select 'approved_without_participant' as rule, count(*) as items from integrity.unvouched_approval",
    "law": "select * from integrity.law_status order by position",
    "guards": "select * from integrity.guard_status where damage order by position",
    "trend": "select * from (select * from integrity.audit_trend order by run desc limit 90) as last order by run",
    "approvals": "select * from integrity.daily_approval order by day",
    "corrections": "select * from integrity.corrections order by last_seen desc limit 100",
    "nodes": "select * from integrity.diagram_node order by diagram, position",
    "edges": "select * from integrity.diagram_edge order by diagram, source, target",
}
LISTED = """
select violation.*, unvouched.key is not null as undecided
from integrity.named_violation as violation
left join integrity.unvouched_approval as unvouched on violation.key = unvouched.key
order by violation.severity, violation.rule, violation.quest_id, violation.key
limit %s
"""


def write(connection: psycopg.Connection[Any], out: TextIO) -> None:
    """Write the page; violations past `MOST_LISTED` are counted, not listed, so that a browser can open it."""
    loader = jinja2.FileSystemLoader(Path(__file__).with_name("templates"))
    pages = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    with violations.one_snapshot(connection), connection.cursor("listed", row_factory=dict_row) as listed:
        with connection.cursor(row_factory=dict_row) as cursor:
            # A detached layer has no rules to ask.
            detached = attachment.since(connection)
            data: dict[str, Any] = {
                name: [] if detached and name in {"rules", "undecided"} else cursor.execute(sql.SQL(query)).fetchall()
                for name, query in QUERIES.items()
            }
        undecided = {row["rule"]: row["items"] for row in data.pop("undecided")}
        for rule in data["rules"]:
            rule["undecided"] = undecided.get(rule["rule"], 0)
        data |= {
            "detached": attachment.said(detached) if detached else None,
            "database": connection.info.dbname,
            "at": datetime.now(UTC),
            "version": version("quest-integrity"),
            "most": MOST_LISTED,
            "listed": [] if detached else listed.execute(LISTED, [MOST_LISTED]),
        }
        out.writelines(pages.get_template("report.html").generate(data))
