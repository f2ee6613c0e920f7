"""quest-integrity rules and explain."""

from dataclasses import replace
from typing import Annotated

import typer

from checks.commands import app, connected, severities


@app.command()
def rules(context: typer.Context) -> None:
    """List the rules, and how often each is violated.

    Example: quest-integrity rules
    """
    from checks import render, violations
    from checks import rules as reading

    with connected(context, attached=True) as connection:
        scope = violations.Scope(severities=severities(connection))
        render.show_rules(reading.read(connection), violations.report(connection, scope), render.console())


@app.command()
def explain(
    context: typer.Context,
    subject: Annotated[str, typer.Argument(metavar="RULE|KEY", help="A rule, or the key of one violation.")],
) -> None:
    """Say what a rule means, or all about one violation.

    Of a violation: its rows, their history, and the psql statements that repair it.

    Example: quest-integrity explain approved_without_participant
    """
    from checks import render
    from checks import rules as reading

    out = render.console()
    with connected(context, attached=True) as connection:
        rule = reading.find(connection, subject)
        if rule is not None:
            render.show_rule(replace(rule, severity=severities(connection).get(rule.rule, rule.severity)), out)
            return
        found = reading.violation(connection, subject)
        render.show_violations([found], out)
        render.show_rows(reading.rows(connection, found.quest_id), out)
        render.show_history(reading.history(connection, found.quest_id), out)
        statements = reading.repair_statements(connection, found)
        out.print(statements or "-- no repair: a person decides")
