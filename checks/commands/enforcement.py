"""quest-integrity enforce and relax."""

from typing import Annotated

import typer

from checks.commands import EXIT_VIOLATIONS, app, completion, connected

RuleArgument = Annotated[str, typer.Argument(metavar="RULE", help="One of the rules.", autocompletion=completion.rules)]


@app.command()
def enforce(context: typer.Context, rule: RuleArgument) -> None:
    """Make violations of a rule impossible, by a constraint.

    From then on the rule is an error. While rows break it, the constraint waits for their repair; then run validate.

    Exit code 0: enforced; 1: rows are in the way; 2: could not run, and nothing was changed.

    Example: quest-integrity enforce participant_without_approval
    """
    from checks import ddl, guards, law, render, violations
    from checks.progress import Progress
    from checks.screens.guards import show_unenforced

    with connected(context, attached=True) as connection:
        violations.require_rules(connection, [rule])
        law.change(connection, ddl.USUAL, f"rule {rule}", "enforce", rule)
        with Progress() as progress:
            names = law.of_rule(connection, rule)
            remaining = guards.enforce(connection, names, show=lambda done, of: progress.at("enforce", done, of))
    if remaining:
        show_unenforced(remaining, render.console())
        render.say(
            f"{rule} is not enforced on old rows yet: repair what breaks it (`quest-integrity audit --detailed --rule "
            f"{rule}`), then run `quest-integrity validate`"
        )
        raise typer.Exit(EXIT_VIOLATIONS)
    render.say(f"enforced: {rule}")


@app.command()
def relax(context: typer.Context, rule: RuleArgument) -> None:
    """Drop the constraint that enforce added.

    The rule gets back the severity that it had. Exit code 0: done; 2: could not run, and nothing was changed.

    Example: quest-integrity relax participant_without_approval
    """
    from checks import ddl, law, render, violations

    with connected(context, attached=True) as connection:
        violations.require_rules(connection, [rule])
        law.change(connection, ddl.USUAL, f"rule {rule}", "relax", rule)
    render.say(f"relaxed: {rule}")
