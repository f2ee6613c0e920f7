"""The app's own audit, row by row through its ORM, against ours: the algorithm written anew from what is known of it.

For each approved application it looks for the participant, for each active participant for the approved application,
for each quest with participants for its status and its assignee, and for each user who takes part for duplicates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import data
from benchmarks.audit import timed
from benchmarks.harness import Bench, Ratio, Subject, alternate, main
from checks import violations


def audit_row_by_row() -> dict[str, int]:
    """Count the five kinds of issues, one query or more per row, as the app's management command does."""
    from django.db.models import Count

    from tests.django_app.applications.models import Application
    from tests.django_app.quests.models import Quest, QuestParticipant

    found = dict.fromkeys(("approved alone", "participant alone", "status", "assignment", "duplicates"), 0)
    for application in Application.objects.filter(status="approved").select_related("quest", "applicant").iterator():
        who = {"quest": application.quest, "user": application.applicant}
        found["approved alone"] += not QuestParticipant.objects.filter(**who).exists()
    participants = QuestParticipant.objects.select_related("quest", "user")
    for participant in participants.iterator():
        who = {"quest": participant.quest, "applicant": participant.user}
        found["participant alone"] += not Application.objects.filter(status="approved", **who).exists()
    for quest in Quest.objects.iterator():
        active = quest.participants.exclude(status="dropped")
        number = active.count()
        found["status"] += number > 0 and quest.status == "open"
        if number and quest.status != "completed":
            found["assignment"] += not active.filter(user_id=quest.assigned_to_id).exists()
    pairs = QuestParticipant.objects.values("quest", "user").annotate(number=Count("id"))
    found["duplicates"] = pairs.filter(number__gt=1).count()
    return found


def run(bench: Bench, sizes: Sequence[int]) -> None:
    """Run both audits in turn at every size, 3 % dirty."""
    from tests.django_app import database

    database.setup()
    from django.db import connection as django_connection

    for size in sizes:
        data.app_database(bench, "audited")
        with bench.connect("audited") as connection:
            data.lived_in(connection, size, 33)
        bench.upgrade("audited", data.RULES_ONLY)
        bench.vacuum("audited")
        queries = 0

        def count_queries(execute: Callable[..., Any], *arguments: Any) -> Any:
            nonlocal queries
            queries += 1
            return execute(*arguments)

        rounds = bench.rounds if size <= 10_000 else 1
        with (
            bench.connect("audited") as connection,
            database.use(bench.url("audited")),
            django_connection.execute_wrapper(count_queries),
        ):
            samples = alternate(
                rounds,
                {
                    "row by row": timed(audit_row_by_row),
                    "ours": timed(lambda connection=connection: violations.report(connection)),
                },
            )
        bench.notes[f"{size:,} applications: statements per application"] = round(queries / size / rounds, 2)
        aim = 1000 if size >= 50_000 else None
        bench.add(f"{size:,} applications, 3 % dirty", "ms", samples, [Ratio("row by row", "ours", at_least=aim)])
        bench.drop("audited")


SUBJECT = Subject("perrow", run, sizes=(1000, 10_000, 50_000), tiny=(1000,), rounds=3)

if __name__ == "__main__":
    main(SUBJECT)
