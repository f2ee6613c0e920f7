"""The screens of the rules, of one rule and of one violation."""

import shlex
from collections.abc import Iterable

from rich.console import Console

from checks import render
from checks.people import People
from checks.render import STYLES, Listing, Part, Prose, Whole, count
from checks.rules import MOST_EVENTS, Row, Rule, Story
from checks.screens.audit import in_words, quest_title
from checks.screens.changes import row_key, show_change
from checks.screens.log import show_event
from checks.undecided import ANSWERS, UNAPPROVED
from checks.violations import Report, Violation

# Of a quest's rows, these many of those that concern the violation most.
MOST_ROWS = 20
BY_A_PERSON = "no repair: a person decides"


def show_rules(rules: Iterable[Rule], report: Report, on: Console) -> None:
    """Print the rules with their counts and what they mean."""
    counts = {counted.rule: counted for counted in report.counts}
    listing = Listing("rule", "severity", "violations", "category", "repair", "enforced", "meaning")
    for rule in rules:
        counted = counts.get(rule.rule)
        severity, violations = (counted.severity, str(counted.violations)) if counted else ("off", "")
        if on.is_terminal:
            said = count(counted.violations, "violation") if counted else "not audited"
            style = STYLES[severity] if counted is None or counted.violations else ""
            enforced = f"; enforced {rule.enforced}"
            render.put(on, Whole(rule.rule, "bold"), "  ", Prose(severity, style), f"  {said}{enforced}", hang=2)
            render.put(on, rule.meaning, indent=2)
        repaired = rule.repair or "a person decides"
        listing.add_row(rule.rule, severity, violations, rule.category, repaired, rule.enforced, rule.meaning)
    if not on.is_terminal:
        on.print(listing)


def show_rule(rule: Rule, on: Console) -> None:
    """Print one rule in full."""
    render.put(on, Whole(rule.rule, "bold"), " (", Prose(rule.severity, STYLES[rule.severity]), f"; {rule.category})")
    render.put(on, rule.meaning)
    render.heading(on, "How it comes about")
    render.put(on, rule.broken_by or "nobody has said yet")
    render.heading(on, "What repairs it")
    render.put(on, rule.repair_meaning or BY_A_PERSON)
    name = shlex.quote(rule.rule)
    if rule.rule == UNAPPROVED:
        for answer in ANSWERS:
            render.put(on, Whole(_on_request(answer), "cyan"))
    elif rule.repair:
        render.put(on, Whole(f"quest-integrity audit --fix-issues --rule {name}", "cyan"))
    render.heading(on, "What enforces it")
    render.put(on, rule.enforced)
    for constraint in rule.enforced_by:
        render.put(on, Whole(constraint))
    if rule.enforced.startswith("on request"):
        command = "relax" if rule.enforced.endswith("yes") else "enforce"
        render.put(on, Whole(f"quest-integrity {command} {name}", "cyan"))
    render.heading(on, "Its violations")
    render.put(on, Whole(f"quest-integrity audit --detailed --rule {name}", "cyan"))
    render.put(on, Whole(f"select * from integrity.{rule.rule};", "cyan"))


def show_story(story: Story, people: People, on: Console) -> None:
    """Print all about one violation: what is wrong, the rows, their history, the repair and what it would do."""
    violation = story.violation
    mentioned: list[object] = [violation.message, violation.user_id, [event["before"] for event in story.events]]
    mentioned += [[event["after"], event["user_id"]] for event in story.events]
    mentioned += [row.content for row in story.rows or ()] + [[each.before, each.after] for each in story.changes]
    people.learn(mentioned, [violation.quest_id])

    render.put(on, Whole(violation.key, "bold"))
    render.heading(on, "What is wrong")
    severity = Prose(story.rule.severity, STYLES[story.rule.severity])
    render.put(on, severity, ": ", *in_words(violation, people))
    render.put(on, *quest_title(violation.quest_id, people))
    render.put(on, story.rule.meaning, " (", Whole(story.rule.rule), ")")
    _show_rows(story.rows, violation, people, on)
    render.heading(on, "What happened")
    for event in story.events:
        show_event(event, people, on)
    if not story.events:
        render.put(on, "no event is logged")
    elif len(story.events) == MOST_EVENTS:
        render.put(on, "earlier: ", Whole(f"quest-integrity events --quest {violation.quest_id}", "cyan"))
    _show_repair(story, people, on)


def _show_rows(rows: list[Row] | None, violation: Violation, people: People, on: Console) -> None:
    render.heading(on, "The rows that matter")
    if rows is None:
        render.put(on, "this role may not read them: members of integrity_operator may")
        return
    for row in rows[:MOST_ROWS]:
        parts: list[Part] = [Whole(f"{row.relation} {row_key(row.row_key)}", "bold"), ": "]
        for position, (name, value) in enumerate(sorted(row.content.items(), key=lambda each: each[0] != "status")):
            if value not in (None, "") or name == "assigned_to_id":
                said = "nobody" if value is None else people.person(value) if name.endswith("_id") else str(value)
                parts += [", " if position else "", f"{name} ", Whole(said)]
        render.put(on, *parts, hang=4)
    if len(rows) > MOST_ROWS:
        every = Whole(f"select * from integrity.quest_rows(array[{violation.quest_id}]);", "cyan")
        render.put(on, f"and {count(len(rows) - MOST_ROWS, 'row')} more: ", every)


def _show_repair(story: Story, people: People, on: Console) -> None:
    violation = story.violation
    render.heading(on, "What repairs it")
    if not story.statements:
        # In front of it, what psql takes for a comment.
        render.put(on, f"-- {BY_A_PERSON}")
        return
    render.put(on, story.rule.repair_meaning or f"the repair {violation.repair}")
    several = len(story.statements) > 1
    if violation.repair is None:
        render.put(on, "The app lets people join directly: a person decides whether that is wrong, and which.")
        for answer in ANSWERS:
            render.put(on, Whole(f"{_on_request(answer)} --quest {violation.quest_id}", "cyan"))
    else:
        render.put(on, "with all that is wrong with the quest:")
        render.put(on, Whole(f"quest-integrity audit --fix-issues --quest {violation.quest_id}", "cyan"))
        if several:
            render.put(on, "No event says whether the participant was lost or has left: a person decides which.")
    render.put(on, "alone, in psql, one of:" if several else "alone, in psql:")
    for statement in story.statements:
        _show_statement(statement, on)
    render.heading(on, "What the first would do" if several else "What that would do")
    if story.repaired is None:
        render.put(on, f"cannot be said: {story.unknown}")
    for left in story.repaired.left if story.repaired else ():
        by = [" by ", Whole(left.detail)] if left.detail else [": another rule has to be repaired first"]
        render.put(on, Whole(left.key), " is refused", *by)
    for change in story.changes:
        show_change(change, people, on)


def _on_request(answer: str) -> str:
    """Return the command that repairs participants without an approval."""
    return f"quest-integrity audit --fix-issues --rule {UNAPPROVED} --unapproved {answer}"


def _show_statement(statement: str, on: Console) -> None:
    if not on.is_terminal or len(statement) <= on.width:
        render.put(on, Whole(statement, "cyan"))
        return
    # At places where no blank is part of the key.
    call, _, arguments = statement.partition("(")
    key, why, options = arguments.rpartition(" 'why'")
    render.put(on, Whole(f"{call}(", "cyan"))
    for part in (key, f"{why.strip()}{options}"):
        render.put(on, Whole(part, "cyan"), indent=2)
