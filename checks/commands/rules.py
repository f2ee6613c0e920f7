"""quest-integrity rules and explain."""

import sys
from dataclasses import asdict, replace
from typing import Annotated

import typer

from checks.commands import FormatOption, app, completion, connected, severities


@app.command()
def rules(context: typer.Context, form: FormatOption = "table") -> None:
    """List the rules, and how often each is violated.

    Example: quest-integrity rules
    """
    from checks import records, render, violations
    from checks import rules as reading
    from checks.screens.rules import show_rules

    with connected(context, attached=True) as connection:
        scope = violations.Scope(severities=severities(connection))
        known, report = reading.read(connection), violations.report(connection, scope)
    if form == "table":
        show_rules(known, report, render.console())
    else:
        records.write(form, reading.records(known, report), reading.COLUMNS, sys.stdout)


@app.command()
def explain(
    context: typer.Context,
    subject: Annotated[
        str,
        typer.Argument(
            metavar="RULE|KEY", help="A rule, or the key of one violation.", autocompletion=completion.rules
        ),
    ],
    form: FormatOption = "table",
) -> None:
    """Explain a rule, or one violation.

    Of a violation: what is wrong, its rows, their history, what repairs it and what that would do.

    Example: quest-integrity explain approved_without_participant
    """
    from checks import records, render
    from checks import rules as reading
    from checks.people import People
    from checks.screens import rules as screen

    with connected(context, attached=True) as connection:
        chosen = severities(connection)
        found = reading.find(connection, subject) or reading.story(connection, subject)
        rule = found if isinstance(found, reading.Rule) else found.rule
        rule = replace(rule, severity=chosen.get(rule.rule, rule.severity))
        if form != "table":
            record = asdict(rule) if isinstance(found, reading.Rule) else reading.record(found)
            records.write(form, [record], list(record), sys.stdout)
        elif isinstance(found, reading.Rule):
            screen.show_rule(rule, render.console())
        else:
            screen.show_story(replace(found, rule=rule), People(connection), render.console())
