"""The screens of an audit: the answer, the rules that are violated, the violations by quest."""

import shlex
from collections.abc import Iterable

from rich.console import Console

from checks import render
from checks.people import People
from checks.render import STYLES, Listing, Part, Prose, Whole, count
from checks.violations import Report, RuleCount, Violation

SEVERITIES = ("error", "warning")


def show_report(
    report: Report, on: Console, options: str = "", *, everything: bool = False, detailed: bool = False
) -> None:
    """Print the outcome of an audit.

    Args:
        report: the counts.
        on: a terminal gets the answer and the violated rules, anything else a line for every rule.
        options: what the next audit needs to look at the same rows.
        everything: whether a terminal gets the rules without violations too.
        detailed: whether the violations themselves follow.
    """
    if not on.is_terminal:
        _show_counts(report, on)
        return
    render.put(on, answer(report))
    for counted in sorted(report.counts, key=lambda each: (SEVERITIES.index(each.severity), -each.violations)):
        if counted.violations:
            rule = shlex.quote(counted.rule)
            goes_on = f"explain {rule}" if detailed else f"audit{options} --detailed --rule {rule}"
            _show_violated(counted, on, f"quest-integrity {goes_on}")
    if everything:
        on.print()
        for counted in report.counts:
            if not counted.violations:
                render.put(on, Whole(counted.rule), ": no violations", hang=2)
    on.print()
    render.put(on, Prose(looked_at(report), "dim"))


def answer(report: Report) -> Prose:
    """Return the outcome in one line."""
    errors, warnings = (report.violations(severity) for severity in SEVERITIES)
    violated = sum(counted.violations > 0 for counted in report.counts)
    text = f"{count(errors, 'error')}, {count(warnings, 'warning')} in "
    text += f"{violated} of {count(len(report.counts), 'rule')}" if violated else count(len(report.counts), "rule")
    if violated:
        text += f"; {concerned(report.quests, report.users)}"
    return Prose(text, "bold red" if errors else "bold yellow" if warnings else "bold green")


def concerned(quests: int, users: int) -> str:
    """Return whom violations concern."""
    return f"{count(quests, 'quest')}, {count(users, 'person', 'people')}"


def looked_at(report: Report) -> str:
    """Return how many rows the audit looked at."""
    totals = report.totals
    looked = (totals.users, "user"), (totals.quests, "quest"), (totals.applications, "application")
    return "audited: " + ", ".join(count(*each) for each in (*looked, (totals.participants, "participant")))


def show_violations(violations: Iterable[Violation], people: People, on: Console) -> None:
    """Print the violations as they come: by quest in a terminal, where they come in that order, else one a line."""
    before: Violation | None = None
    for some in render.in_batches(violations):
        people.learn(((each.message, each.user_id) for each in some), (each.quest_id for each in some))
        for violation in some:
            if not on.is_terminal:
                _show_on_a_line(violation, people, on)
                continue
            if before is None or before.quest_id != violation.quest_id:
                on.print()
                render.put(on, *quest_title(violation.quest_id, people), hang=2)
            _show_violation(violation, people, on)
            before = violation


def in_words(violation: Violation, people: People) -> list[Part]:
    """Return what is wrong, with the names of people, also of one whom the message does not mention."""
    said = render.mentions(violation.message, people.names)
    if violation.user_id is None or str(violation.user_id) in violation.message:
        return said
    return [*said, " (user ", Whole(people.name(violation.user_id)), ")"]


def quest_title(quest: int | None, people: People) -> list[Part]:
    """Return a quest's title and id."""
    if quest is None:
        return [Prose("no quest", "bold")]
    number = Whole(f"quest {quest}", "bold")
    title = people.titles.get(quest)
    return [number] if not title else [number, "  ", Prose(title)]


def _show_counts(report: Report, on: Console) -> None:
    listing = Listing("rule", "severity", "category", "violations", "quests", "users")
    for counted in report.counts:
        numbers = (counted.violations, counted.quests, counted.users)
        listing.add_row(counted.rule, counted.severity, counted.category, *map(str, numbers))
    on.print(listing)
    render.put(on, looked_at(report))


def _show_violated(counted: RuleCount, on: Console, goes_on: str) -> None:
    on.print()
    severity = Prose(counted.severity, STYLES[counted.severity])
    found = f"{count(counted.violations, 'violation')}; {concerned(counted.quests, counted.users)}"
    render.put(on, severity, "  ", Whole(counted.rule, "bold"), f"  {found}", hang=2)
    render.put(on, Whole(goes_on), indent=2)


def _show_violation(violation: Violation, people: People, on: Console) -> None:
    severity = Prose(violation.severity, STYLES[violation.severity])
    render.put(on, severity, "  ", *in_words(violation, people), indent=2, hang=9)
    repair = f"repair: {violation.repair}" if violation.repair else "no repair: a person decides"
    render.put(on, Whole(violation.key, "cyan"), "  ", Prose(repair, "dim"), indent=9)


def _show_on_a_line(violation: Violation, people: People, on: Console) -> None:
    message = render.mentions(violation.message, people.names)
    repair = violation.repair or "a person decides"
    render.put(on, violation.severity, "  ", *message, f"  [{violation.key}; repair: {repair}]")
