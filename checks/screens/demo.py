"""The screens of the demo: the incident's tables before and after, the attempts to break them again."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

from checks import render
from checks.render import Listing, Prose, count

LESSONS = (
    "Approve with one UPDATE: participant, status and assignee come with it.",
    "Nobody can commit a broken state: not the app, its admin, a script or psql.",
    "What was broken before: `audit` shows it, `audit --fix-issues` repairs it.",
)
Rows = Sequence[Sequence[str]]


def show_state(applications: Rows, quests: Rows, on: Console, since: tuple[Rows, Rows] | None = None) -> None:
    """Print the tables as the incident log writes them down.

    Args:
        applications: quest, applicant, application, participant.
        quests: quest, status, assignee, number of participants.
        on: where to.
        since: the same rows before, to show what has changed.
    """
    headings = (
        ("quest", "applicant", "application", "participant"),
        ("quest", "status", "assigned to", "participants"),
    )
    for names, rows, before in zip(headings, (applications, quests), since or (applications, quests), strict=True):
        listing = Listing(*names)
        for row, earlier in zip(rows, before, strict=True):
            listing.add_row(*(_changed(old, new) for old, new in zip(earlier, row, strict=True)))
        on.print(listing)
        on.print()


def show_people(rows: Iterable[Sequence[str]], on: Console) -> None:
    """Print whom violations concern, and by how many."""
    listing = Listing("user", "violations")
    for row in rows:
        listing.add_row(*row)
    on.print(listing)


def show_attempts(attempts: Iterable[tuple[str, str, str]], on: Console) -> None:
    """Print how each attempt ended."""
    listing = Listing("attempt", "outcome", "what happened", prose=["what happened"])
    for name, outcome, detail in attempts:
        listing.add_row(name, Text(outcome, "green"), detail)
    on.print(listing)


def show_violations(violations: int, on: Console) -> None:
    """Print how many violations all attempts together have left."""
    render.put(on, Prose(f"{count(violations, 'violation')} of severity error after all six", "bold"))


def show_lessons(on: Console) -> None:
    """Print what to remember."""
    render.heading(on, "What to remember")
    for lesson in LESSONS:
        render.put(on, lesson)


def _changed(before: str, now: str) -> Text:
    if before != now:
        return Text(f"{before} → {now}", "green")
    return Text(now, "bold red" if now == "MISSING" else "")
