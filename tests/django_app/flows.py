"""The ways PeerQuest writes, each with the end state that is right once the integrity layer is attached.

A flow knows only the models. It also runs on a database without the layer, where it raises nothing and may
leave the incident's broken states behind; that difference is what the tests look at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.django_app import database

# Models can be imported only once the project is loaded; who wants the catalogue should not have to know.
database.setup()

from django.db import connection, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from tests.django_app import endpoints  # noqa: E402
from tests.django_app.applications.models import Application  # noqa: E402
from tests.django_app.quests.models import (  # noqa: E402
    Quest,
    QuestCategory,
    QuestCompletionLog,
    QuestParticipant,
    QuestSubmission,
)
from tests.django_app.users.models import User  # noqa: E402
from tests.django_app.world import QuestState, World  # noqa: E402

# The models are here too, for those who would import them too early by themselves.
__all__ = [
    "FLOWS",
    "Application",
    "Flow",
    "Quest",
    "QuestCategory",
    "QuestCompletionLog",
    "QuestParticipant",
    "QuestState",
    "QuestSubmission",
    "User",
    "World",
]


@dataclass(frozen=True)
class Flow:
    name: str
    about: str
    run: Callable[[World], None]
    expected: dict[str, QuestState | None]
    """Every quest of the flow with the layer attached; None for a quest that is gone."""
    warnings: frozenset[str] = frozenset()
    """The rules of severity warning that speak about the flow's quests afterwards, exactly."""
    refused_by: str | None = None
    """The constraint whose IntegrityError the flow ends with when the layer is attached."""


FLOWS: list[Flow] = []

DIRECT = "participant_without_approval"
UNFINISHED = "completed_quest_unfinished"
DUPLICATE_PENDING = "duplicate_pending"
ONE_APPROVAL = "integrity_approved_application_key"

UNTOUCHED = QuestState()
ANN_IS_IN = QuestState("in-progress", "ann", {"ann": "joined"}, {"ann": ["approved"]})
ANN_JOINED_DIRECTLY = QuestState("in-progress", "ann", {"ann": "joined"})
ANN_AND_BEN_ARE_IN = QuestState(
    "in-progress", "ben", {"ann": "joined", "ben": "joined"}, {"ann": ["approved"], "ben": ["approved"]}
)
ANN_LEFT = QuestState(applications={"ann": ["kicked"]})
ANN_LEFT_BEN_STAYED = QuestState("in-progress", "ben", {"ben": "joined"}, {"ann": ["kicked"], "ben": ["approved"]})
ANN_WAS_DROPPED = QuestState(participants={"ann": "dropped"}, applications={"ann": ["kicked"]})
ANN_IS_BACK = QuestState("in-progress", "ann", {"ann": "joined"}, {"ann": ["kicked", "approved"]})
ANN_COMPLETED = QuestState("completed", "ann", {"ann": "completed"}, {"ann": ["approved"]}, rewards=1)


def flow(
    expected: QuestState | dict[str, QuestState | None] | None,
    *warnings: str,
    refused_by: str | None = None,
) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    """Enter a function into the catalogue; a bare state is that of the one quest named "quest"."""
    states = expected if isinstance(expected, dict) else {"quest": expected}

    def register(run: Callable[[World], None]) -> Callable[[World], None]:
        about = " ".join((run.__doc__ or "").split())
        FLOWS.append(Flow(run.__name__, about, run, states, frozenset(warnings), refused_by))
        return run

    return register


# Approving


@flow(ANN_IS_IN)
def approve(world: World) -> None:
    """The owner approves the only application."""
    world.apply("ann")
    world.approve("ann")


@flow(
    QuestState(
        "in-progress",
        "ann",
        {"ann": "joined"},
        {"ann": ["approved"], "ben": ["rejected"], "cat": ["rejected"]},
    )
)
def approve_with_other_pendings(world: World) -> None:
    """Approving one application rejects the others, in the same transaction."""
    world.apply("ann", "ben", "cat")
    world.approve("ann")


@flow(
    QuestState(
        "in-progress",
        "ben",
        {"ann": "joined", "ben": "joined"},
        {"ann": ["approved"], "ben": ["approved"]},
    )
)
def approve_two_from_stale_pages(world: World) -> None:
    """Two applications were loaded while the quest was open; both get approved, the second one after the
    database says rejected, and the second quest save writes `open` back.
    """
    world.apply("ann", "ben")
    ben = world.application("ben")
    world.approve("ann")
    ben.approve(world.user("owner"))


@flow(ANN_AND_BEN_ARE_IN)
def approve_one_after_the_other(world: World) -> None:
    """There is no capacity limit: a second participant is approved while the first takes part."""
    world.admit("ann", "ben")


@flow(
    QuestState(
        "in-progress",
        "ann",
        {"ann": "joined", "ben": "joined"},
        {"ann": ["approved"], "ben": ["approved"]},
    )
)
def approve_a_rejected_one_in_the_admin(world: World) -> None:
    """The admin form approves an application that was rejected along the way."""
    world.apply("ann", "ben")
    world.approve("ann")
    endpoints.admin_save(Application, world.application("ben").pk, status="approved")


@flow(ANN_IS_IN)
def approve_after_rejecting(world: World) -> None:
    """The owner rejects, then changes their mind."""
    world.apply("ann")
    endpoints.reject(world.application("ann").pk, world.user("owner"))
    world.approve("ann")


@flow(ANN_IS_IN)
def approve_in_the_admin(world: World) -> None:
    """The admin form saves the status alone; nobody calls `assign_to_user`."""
    world.apply("ann")
    endpoints.admin_save(Application, world.application("ann").pk, status="approved")


@flow(ANN_IS_IN)
def applicant_approves_themselves(world: World) -> None:
    """Applicants may PATCH their own application to any status."""
    world.apply("ann")
    endpoints.patch(Application, world.application("ann").pk, status="approved")


@flow(
    QuestState(
        "in-progress",
        "ann",
        {"ann": "joined", "ben": "joined"},
        {"ann": ["approved"], "ben": ["approved"]},
    )
)
def approve_many_with_queryset_update(world: World) -> None:
    """One UPDATE approves two applicants of one quest."""
    world.apply("ann", "ben")
    Application.objects.filter(quest=world.quest()).update(status="approved")


@flow({"one": ANN_IS_IN, "two": ANN_IS_IN})
def approve_across_quests_with_queryset_update(world: World) -> None:
    """One UPDATE approves the same person on two quests."""
    world.apply("ann", quest="one")
    world.apply("ann", quest="two")
    Application.objects.filter(applicant=world.user("ann")).update(status="approved")


@flow({"one": ANN_IS_IN, "two": ANN_IS_IN})
def approve_with_bulk_update(world: World) -> None:
    """`bulk_update` writes the statuses with one CASE expression."""
    world.apply("ann", quest="one")
    world.apply("ann", quest="two")
    applications = list(Application.objects.filter(applicant=world.user("ann")))
    for application in applications:
        application.status = Application.Status.APPROVED
    Application.objects.bulk_update(applications, ["status"])


@flow(
    QuestState(
        "in-progress",
        "ann",
        {"ann": "joined", "ben": "joined"},
        {"ann": ["approved"], "ben": ["approved"], "cat": ["pending"]},
    )
)
def import_approved_with_bulk_create(world: World) -> None:
    """An import inserts applications that are approved already."""
    quest = world.quest()
    Application.objects.bulk_create(
        Application(quest=quest, applicant=world.user(name), status=status)
        for name, status in (("ann", "approved"), ("ben", "approved"), ("cat", "pending"))
    )


@flow(ANN_IS_IN)
def approve_with_raw_sql(world: World) -> None:
    """Somebody updates the row behind the models' back."""
    world.apply("ann")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE applications_application SET status = 'approved' WHERE id = %s",
            [world.application("ann").pk],
        )


@flow(ANN_IS_IN)
def insert_approved_with_raw_sql(world: World) -> None:
    """Somebody inserts an approved row behind the models' back."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO applications_application (quest_id, applicant_id, status, applied_at)"
            " VALUES (%s, %s, 'approved', now())",
            [world.quest().pk, world.user("ann").pk],
        )


@flow(
    QuestState(
        "completed",
        "ben",
        {"ann": "completed", "ben": "completed"},
        {"ann": ["approved"], "ben": ["approved"]},
        rewards=2,
    )
)
def approve_on_a_completed_quest(world: World) -> None:
    """A late approval: saving the completed quest completes and pays the newcomer too."""
    world.admit("ann")
    world.apply("ben")
    world.quest().complete()
    world.approve("ben")


@flow(
    QuestState(
        "completed",
        "ann",
        {"ann": "completed", "ben": "joined"},
        {"ann": ["approved"], "ben": ["approved"]},
        rewards=1,
    ),
    UNFINISHED,
)
def approve_on_a_completed_quest_with_queryset_update(world: World) -> None:
    """The same without signals: nobody completes the newcomer, and the database does not either."""
    world.admit("ann")
    world.apply("ben")
    world.quest().complete()
    Application.objects.filter(pk=world.application("ben").pk).update(status="approved")


@flow(QuestState(applications={"ann": ["pending"]}))
def approve_and_roll_back(world: World) -> None:
    """Something after the approval fails and takes everything back."""
    world.apply("ann")
    with transaction.atomic():
        world.approve("ann")
        transaction.set_rollback(True)


@flow(
    QuestState("in-progress", "ben", {"ben": "joined"}, {"ann": ["pending"], "ben": ["approved"]}),
)
def roll_back_to_a_savepoint(world: World) -> None:
    """One approval is undone inside a transaction that goes on with another."""
    world.apply("ann")
    with transaction.atomic():
        with transaction.atomic():
            world.approve("ann")
            transaction.set_rollback(True)
        world.apply("ben")
        endpoints.admin_save(Application, world.application("ben").pk, status="approved")


@flow(QuestState("in-progress", "ann", {"ann": "joined"}, {"ann": ["approved", "rejected"]}))
def approve_one_of_two_by_the_same_person(world: World) -> None:
    """Applied twice; approving one rejects the other."""
    world.apply("ann")
    first = world.application("ann")
    world.apply("ann")
    first.approve(world.user("owner"))


@flow(
    QuestState("in-progress", "ann", {"ann": "joined"}, {"ann": ["approved", "pending"]}),
    refused_by=ONE_APPROVAL,
)
def approve_the_same_person_twice(world: World) -> None:
    """A second approval of somebody who is in is refused."""
    world.admit("ann")
    world.apply("ann")
    world.approve("ann")


@flow(QuestState(applications={"ann": ["pending", "pending"]}), DUPLICATE_PENDING, refused_by=ONE_APPROVAL)
def approve_both_of_the_same_person_with_queryset_update(world: World) -> None:
    """One UPDATE approves both applications of one person: refused as a whole."""
    world.apply("ann", "ann")
    Application.objects.filter(quest=world.quest()).update(status="approved")


@flow(QuestState(applications={"ann": ["pending", "pending"]}), DUPLICATE_PENDING)
def apply_twice(world: World) -> None:
    """Nothing stops a person from applying twice."""
    world.apply("ann", "ann")


# Kicking


@flow(ANN_WAS_DROPPED)
def kick(world: World) -> None:
    """The last save of `kick()` writes the kicked user back as assignee, with status open."""
    world.admit("ann")
    world.kick("ann")


@flow(
    QuestState(
        "in-progress",
        "ann",
        {"ann": "joined", "ben": "dropped"},
        {"ann": ["approved"], "ben": ["kicked"]},
    )
)
def kick_the_assignee_of_two(world: World) -> None:
    """The other one becomes the assignee."""
    world.admit("ann", "ben")
    world.kick("ben")


@flow(
    QuestState(
        "in-progress",
        "ben",
        {"ann": "dropped", "ben": "joined"},
        {"ann": ["kicked"], "ben": ["approved"]},
    )
)
def kick_the_other_of_two(world: World) -> None:
    """The assignee stays, although `kick()` saves the quest as open."""
    world.admit("ann", "ben")
    world.kick("ann")


@flow(QuestState(participants={"ann": "dropped"}, applications={"ann": ["kicked", "pending"]}))
def kick_then_reapply(world: World) -> None:
    """The new application is a new row and still pending."""
    world.admit("ann")
    world.kick("ann")
    world.apply("ann")


@flow(ANN_IS_BACK)
def kick_then_reapply_then_approve(world: World) -> None:
    """The dropped participant joins again; the app itself does not set the quest to in-progress then."""
    world.admit("ann")
    world.kick("ann")
    world.admit("ann")


@flow(QuestState(participants={"ann": "dropped"}, applications={"ann": ["kicked", "kicked"]}))
def kick_twice(world: World) -> None:
    """In, out, in, out."""
    world.admit("ann")
    world.kick("ann")
    world.admit("ann")
    world.kick("ann")


@flow(ANN_WAS_DROPPED)
def kick_in_the_transaction_of_the_approval(world: World) -> None:
    """A script approves and kicks before it commits."""
    world.apply("ann")
    with transaction.atomic():
        world.approve("ann")
        world.kick("ann")


@flow(ANN_WAS_DROPPED)
def kick_with_raw_sql(world: World) -> None:
    """Only the application's status is written."""
    world.admit("ann")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE applications_application SET status = 'kicked' WHERE id = %s",
            [world.application("ann").pk],
        )


@flow({"one": ANN_WAS_DROPPED, "two": ANN_IS_IN})
def kick_on_one_of_two_quests(world: World) -> None:
    """The same person stays in the other quest."""
    world.admit("ann", quest="one")
    world.admit("ann", quest="two")
    world.kick("ann", quest="one")


@flow(QuestState("completed", None, {"ann": "dropped"}, {"ann": ["kicked"]}, rewards=1))
def kick_after_completion(world: World) -> None:
    """The quest stays completed, with nobody left to be its assignee."""
    world.admit("ann")
    world.quest().complete()
    world.kick("ann")


# Leaving and being removed


@flow(ANN_LEFT)
def leave(world: World) -> None:
    """The participant is hard-deleted and the app leaves the application approved: the incident."""
    world.admit("ann")
    world.leave("ann")


@flow(ANN_IS_BACK)
def leave_then_reapply_then_approve(world: World) -> None:
    """Left, applied again, approved again: one approved application at the end, not two."""
    world.admit("ann")
    world.leave("ann")
    world.admit("ann")


@flow(ANN_LEFT_BEN_STAYED)
def one_of_two_leaves(world: World) -> None:
    """The assignee is not concerned."""
    world.admit("ann", "ben")
    world.leave("ann")


@flow(
    QuestState("in-progress", "ann", {"ann": "joined"}, {"ann": ["approved"], "ben": ["kicked"]}),
)
def the_assignee_of_two_leaves(world: World) -> None:
    """The app clears the assignee and leaves the quest in progress with nobody assigned."""
    world.admit("ann", "ben")
    world.leave("ben")


@flow(QuestState(applications={"ann": ["kicked"], "ben": ["kicked"]}))
def both_leave(world: World) -> None:
    """The quest is open again."""
    world.admit("ann", "ben")
    world.leave("ann")
    world.leave("ben")


@flow(ANN_LEFT_BEN_STAYED)
def participants_deleted_in_bulk(world: World) -> None:
    """The admin deletes selected participants; signals run, the applications are not touched."""
    world.admit("ann", "ben")
    QuestParticipant.objects.filter(quest=world.quest(), user=world.user("ann")).delete()


@flow(ANN_LEFT)
def participant_deleted_with_raw_sql(world: World) -> None:
    """No signal runs: without the layer even the quest stays assigned."""
    world.admit("ann")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM quests_questparticipant WHERE id = %s", [world.participant("ann").pk])


@flow(ANN_LEFT)
def leave_with_submissions(world: World) -> None:
    """Django deletes the submissions first."""
    world.admit("ann")
    QuestSubmission.submit(world.quest().slug, world.user("ann"), "Done.")
    world.leave("ann")


@flow(ANN_WAS_DROPPED)
def participant_patched_to_dropped(world: World) -> None:
    """The app drops the participant and leaves the application approved."""
    world.admit("ann")
    endpoints.patch_participant(world.quest().pk, world.user("ann"), status="dropped")


@flow(ANN_IS_BACK)
def dropped_then_reapply_then_approve(world: World) -> None:
    """Dropped by PATCH, then admitted again the regular way."""
    world.admit("ann")
    endpoints.patch_participant(world.quest().pk, world.user("ann"), status="dropped")
    world.admit("ann")


@flow(QuestState("in-progress", "ann", {"ann": "joined"}, {"ann": ["kicked"]}), DIRECT)
def dropped_then_patched_back(world: World) -> None:
    """Back by PATCH: the participant takes part again, now without an approval."""
    world.admit("ann")
    endpoints.patch_participant(world.quest().pk, world.user("ann"), status="dropped")
    endpoints.patch_participant(world.quest().pk, world.user("ann"), status="joined")


@flow(
    QuestState(
        participants={"ann": "dropped", "ben": "dropped"},
        applications={"ann": ["kicked"], "ben": ["kicked"]},
    )
)
def participants_dropped_with_queryset_update(world: World) -> None:
    """One UPDATE drops everybody; no signal runs."""
    world.admit("ann", "ben")
    QuestParticipant.objects.filter(quest=world.quest()).update(status="dropped")


@flow(
    QuestState(
        "in-progress",
        "ben",
        {"ann": "dropped", "ben": "joined"},
        {"ann": ["kicked"], "ben": ["approved"]},
    )
)
def participant_upserted_as_dropped(world: World) -> None:
    """`bulk_create` with `update_conflicts` is INSERT ... ON CONFLICT DO UPDATE."""
    world.admit("ann", "ben")
    QuestParticipant.objects.bulk_create(
        [QuestParticipant(quest=world.quest(), user=world.user("ann"), status="dropped")],
        update_conflicts=True,
        unique_fields=["quest", "user"],
        update_fields=["status"],
    )


@flow(
    {"one": ANN_LEFT, "two": ANN_JOINED_DIRECTLY},
    DIRECT,
)
def participant_moved_to_another_quest(world: World) -> None:
    """The admin corrects a participant's quest: one quest loses, the other gains."""
    world.admit("ann", quest="one")
    endpoints.admin_save(QuestParticipant, world.participant("ann", quest="one").pk, quest=world.quest("two").pk)


@flow(QuestState("in-progress", "ann", {"ann": "joined"}, {"ann": ["kicked"]}), DIRECT)
def stale_participant_saved_after_kick(world: World) -> None:
    """Progress notes are saved on a page opened before the kick: the whole row goes back, status included."""
    world.admit("ann")
    stale = world.participant("ann")
    world.kick("ann")
    stale.progress_notes = "Half done."
    stale.save()


@flow(QuestState("in-progress", "ann", {"ann": "joined"}, {"ann": ["kicked"]}), DIRECT)
def stale_participant_saved_after_leave(world: World) -> None:
    """The row is gone, so Django's save inserts it again, under its old id."""
    world.admit("ann")
    stale = world.participant("ann")
    world.leave("ann")
    stale.progress_notes = "Half done."
    stale.save()


# Taking part without an application


@flow(ANN_JOINED_DIRECTLY, DIRECT)
def join(world: World) -> None:
    """Joining an open quest directly; the app does not touch the quest."""
    world.quest().join(world.user("ann"))


@flow(QuestState("in-progress", "ann", {"ann": "joined", "ben": "joined"}), DIRECT)
def two_join_from_stale_pages(world: World) -> None:
    """Both saw the quest open."""
    first, second = world.quest(), world.quest()
    first.join(world.user("ann"))
    second.join(world.user("ben"))


@flow(UNTOUCHED)
def join_then_leave(world: World) -> None:
    """Nothing remains."""
    world.quest().join(world.user("ann"))
    world.leave("ann")


@flow(ANN_IS_IN)
def join_then_apply_then_approve(world: World) -> None:
    """The approval finds the direct participant and keeps it."""
    world.quest().join(world.user("ann"))
    world.admit("ann")


@flow(
    QuestState("in-progress", "ben", {"ann": "joined", "ben": "joined"}, {"ben": ["approved"]}),
    DIRECT,
)
def join_then_another_is_approved(world: World) -> None:
    """The one who joined stays; the approved one becomes the assignee, as the app wrote it."""
    world.quest().join(world.user("ann"))
    world.admit("ben")


@flow(ANN_JOINED_DIRECTLY, DIRECT)
def submit_without_taking_part(world: World) -> None:
    """A submission by slug makes its author a participant."""
    QuestSubmission.submit(world.quest().slug, world.user("ann"), "Done.")


@flow(
    QuestState("in-progress", "ann", {"ann": "in_progress"}, {"ann": ["approved"]}),
)
def submit_while_taking_part(world: World) -> None:
    """The regular course: work is in progress, then handed in."""
    world.admit("ann")
    endpoints.patch_participant(world.quest().pk, world.user("ann"), status="in_progress")
    QuestSubmission.submit(world.quest().slug, world.user("ann"), "Done.")


@flow(ANN_WAS_DROPPED)
def submit_after_kick(world: World) -> None:
    """The submission hangs on the dropped participant and revives nobody."""
    world.admit("ann")
    world.kick("ann")
    QuestSubmission.submit(world.quest().slug, world.user("ann"), "Done anyway.")


@flow(ANN_JOINED_DIRECTLY, DIRECT)
def assign_by_hand(world: World) -> None:
    """The incident's manual fix, `quest.assign_to_user(user)` in a shell, where nobody applied."""
    world.quest().assign_to_user(world.user("ann"))


@flow(QuestState("in-progress", "ann", {"ann": "joined", "ben": "joined", "cat": "dropped"}), DIRECT)
def import_participants_with_bulk_create(world: World) -> None:
    """Participants imported without applications; no signal runs."""
    quest = world.quest()
    QuestParticipant.objects.bulk_create(
        QuestParticipant(quest=quest, user=world.user(name), status=status)
        for name, status in (("ann", "joined"), ("ben", "joined"), ("cat", "dropped"))
    )


# Completing


@flow(ANN_COMPLETED)
def complete(world: World) -> None:
    """Signals complete the participant and pay once."""
    world.admit("ann")
    world.quest().complete()


@flow(
    QuestState(
        "completed",
        "ben",
        {"ann": "completed", "ben": "completed"},
        {"ann": ["approved"], "ben": ["approved"]},
        rewards=2,
    )
)
def complete_with_two(world: World) -> None:
    """Both are completed and paid."""
    world.admit("ann", "ben")
    world.quest().complete()


@flow(
    QuestState(
        "completed",
        "ben",
        {"ann": "dropped", "ben": "completed"},
        {"ann": ["kicked"], "ben": ["approved"]},
        1,
    )
)
def complete_after_a_kick(world: World) -> None:
    """Whoever was kicked is neither completed nor paid."""
    world.admit("ann", "ben")
    world.kick("ann")
    world.quest().complete()


@flow(QuestState("completed"))
def complete_without_participants(world: World) -> None:
    """The owner closes a quest nobody took."""
    world.quest().complete()


@flow(ANN_COMPLETED)
def complete_from_a_stale_page(world: World) -> None:
    """Loaded before the approval, so `complete()` writes back that nobody is assigned."""
    stale = world.quest()
    world.admit("ann")
    stale.complete()


@flow(QuestState("open", None, {}, {"ann": ["kicked"]}, rewards=1))
def complete_then_leave(world: World) -> None:
    """The app opens even a completed quest when nobody is left."""
    world.admit("ann")
    world.quest().complete()
    world.leave("ann")


@flow(QuestState("in-progress", "ann", {"ann": "completed"}, {"ann": ["approved"], "ben": ["kicked"]}, rewards=2))
def complete_then_one_of_two_leaves(world: World) -> None:
    """The app opens the quest, counting only unfinished participants; a completed one still holds it."""
    world.admit("ann", "ben")
    world.quest().complete()
    world.leave("ben")


@flow(ANN_COMPLETED)
def complete_twice(world: World) -> None:
    """Nobody is paid a second time."""
    world.admit("ann")
    world.quest().complete()
    world.quest().complete()


@flow(QuestState("completed", "ann", {"ann": "joined"}, {"ann": ["approved"]}), UNFINISHED)
def complete_with_queryset_update(world: World) -> None:
    """Nobody is completed or paid: the database leaves that to the app and says so."""
    world.admit("ann")
    Quest.objects.filter(pk=world.quest().pk).update(status="completed")


@flow(ANN_COMPLETED, UNFINISHED)
def complete_in_the_admin(world: World) -> None:
    """The form saves the status alone: signals pay, completed_at stays empty."""
    world.admit("ann")
    endpoints.admin_save(Quest, world.quest().pk, status="completed")


@flow(QuestState("in-progress", "ann", {"ann": "completed"}, {"ann": ["approved"]}, rewards=1))
def reopen_a_completed_quest_in_the_admin(world: World) -> None:
    """The quest still has a participant, so it is in progress, not open."""
    world.admit("ann")
    world.quest().complete()
    endpoints.admin_save(Quest, world.quest().pk, status="open")


@flow(QuestState("completed", "ann", {"ann": "completed"}, {"ann": ["pending"]}, rewards=1), DIRECT)
def reset_application_after_completion(world: World) -> None:
    """Work that is done is not undone."""
    world.admit("ann")
    world.quest().complete()
    endpoints.reset_application(world.application("ann").pk)


# Saving quests


@flow(ANN_IS_IN)
def stale_quest_saved_after_approval(world: World) -> None:
    """The owner edits the description on a page opened before the approval."""
    world.apply("ann")
    stale = world.quest()
    world.approve("ann")
    stale.description = "Edited."
    stale.save()


@flow(ANN_WAS_DROPPED)
def stale_quest_saved_after_kick(world: World) -> None:
    """The stale page says in-progress and assigned."""
    world.admit("ann")
    stale = world.quest()
    world.kick("ann")
    stale.description = "Edited."
    stale.save()


@flow(ANN_IS_IN)
def quest_opened_in_the_admin(world: World) -> None:
    """The form saves the status alone, on a quest somebody works on."""
    world.admit("ann")
    endpoints.admin_save(Quest, world.quest().pk, status="open")


@flow(UNTOUCHED)
def quest_started_in_the_admin(world: World) -> None:
    """In progress with nobody in it: put back to open."""
    endpoints.admin_save(Quest, world.quest().pk, status="in-progress")


@flow(ANN_IS_IN)
def unassign(world: World) -> None:
    """Nobody left, so the quest stays assigned: this write looks like any stale save."""
    world.admit("ann")
    world.quest().unassign()


@flow(ANN_IS_IN)
def quest_unassigned_with_queryset_update(world: World) -> None:
    """The assignee alone is cleared, which the incident's audit counts as an assignment inconsistency."""
    world.admit("ann")
    Quest.objects.filter(pk=world.quest().pk).update(assigned_to=None)


@flow(ANN_IS_IN)
def quest_assigned_to_a_stranger(world: World) -> None:
    """Only a participant can be the assignee."""
    world.admit("ann")
    endpoints.admin_save(Quest, world.quest().pk, assigned_to=world.user("cat").pk)


@flow(UNTOUCHED)
def open_quest_assigned_to_a_stranger(world: World) -> None:
    """Nobody takes part, so nobody is assigned."""
    endpoints.admin_save(Quest, world.quest().pk, assigned_to=world.user("cat").pk)


@flow(
    QuestState(
        "in-progress",
        "ann",
        {"ann": "joined", "ben": "joined"},
        {"ann": ["approved"], "ben": ["approved"]},
    )
)
def quest_assigned_to_another_participant(world: World) -> None:
    """A written assignee who takes part is kept."""
    world.admit("ann", "ben")
    endpoints.admin_save(Quest, world.quest().pk, assigned_to=world.user("ann").pk)


@flow(UNTOUCHED)
def quest_created_as_assigned(world: World) -> None:
    """Inserted with an assignee and a status that no participant backs."""
    world.quest(status="in-progress", assigned_to=world.user("ann"))


@flow(UNTOUCHED)
def stale_quest_saved_after_deletion(world: World) -> None:
    """The row is gone, so Django's save inserts it again, under its old id and with its old assignee."""
    world.admit("ann")
    stale = world.quest()
    world.quest().delete()
    stale.save()


@flow(ANN_IS_IN)
def soft_delete(world: World) -> None:
    """`update_fields` writes one column; nothing is derived."""
    world.admit("ann")
    world.quest().soft_delete()


# Changing applications


@flow(QuestState(participants={"ann": "dropped"}, applications={"ann": ["pending"]}))
def reset_application(world: World) -> None:
    """The management command resets an approval with `queryset.update`; no signal runs."""
    world.admit("ann")
    endpoints.reset_application(world.application("ann").pk)


@flow(ANN_IS_IN)
def reset_application_then_approve(world: World) -> None:
    """Approved, reset, approved: one application, one participant."""
    world.admit("ann")
    endpoints.reset_application(world.application("ann").pk)
    world.approve("ann")


@flow(QuestState(participants={"ann": "dropped"}, applications={"ann": ["rejected"]}))
def applicant_withdraws(world: World) -> None:
    """The applicant PATCHes an approved application to rejected."""
    world.admit("ann")
    endpoints.patch(Application, world.application("ann").pk, status="rejected")


@flow(QuestState(applications={"ann": ["pending"]}))
def applicant_resubmits(world: World) -> None:
    """The applicant PATCHes a rejected application back to pending; nothing else changes."""
    world.apply("ann")
    endpoints.reject(world.application("ann").pk, world.user("owner"))
    endpoints.patch(Application, world.application("ann").pk, status="pending")


@flow(QuestState(participants={"ann": "dropped"}))
def approved_application_deleted(world: World) -> None:
    """The application is gone, so is the right to take part; the participant's record stays."""
    world.admit("ann")
    world.application("ann").delete()


@flow(ANN_IS_IN)
def approved_application_deleted_then_reapply_then_approve(world: World) -> None:
    """The dropped participant joins again."""
    world.admit("ann")
    world.application("ann").delete()
    world.admit("ann")


@flow(QuestState(participants={"ann": "dropped", "ben": "dropped"}))
def approved_applications_deleted_in_bulk(world: World) -> None:
    """The admin deletes all applications of a quest."""
    world.admit("ann", "ben")
    Application.objects.filter(quest=world.quest()).delete()


@flow({"one": QuestState(participants={"ann": "dropped"}), "two": ANN_IS_IN})
def approved_application_moved_to_another_quest(world: World) -> None:
    """The admin corrects the quest of an approved application."""
    world.admit("ann", quest="one")
    endpoints.admin_save(Application, world.application("ann", quest="one").pk, quest=world.quest("two").pk)


@flow(QuestState("in-progress", "ben", {"ann": "dropped", "ben": "joined"}, {"ben": ["approved"]}))
def approved_application_moved_to_another_applicant(world: World) -> None:
    """The admin corrects the applicant of an approved application."""
    world.admit("ann")
    endpoints.admin_save(Application, world.application("ann").pk, applicant=world.user("ben").pk)


@flow(ANN_IS_IN)
def stale_application_saved_after_leave(world: World) -> None:
    """The stale row says approved, and a write that approves is an approval whoever makes it."""
    world.admit("ann")
    stale = world.application("ann")
    world.leave("ann")
    stale.reviewed_at = timezone.now()
    stale.save()


@flow(ANN_IS_BACK, refused_by=ONE_APPROVAL)
def stale_application_saved_after_return(world: World) -> None:
    """Kicked and back by a new application; saving the old one as approved would be a second approval."""
    world.admit("ann")
    stale = world.application("ann")
    world.kick("ann")
    world.admit("ann")
    stale.reviewed_at = timezone.now()
    stale.save()


# Hard deletes


@flow(None)
def quest_deleted(world: World) -> None:
    """Django deletes children first, in one transaction, with a signal per participant."""
    world.admit("ann", "ben")
    QuestSubmission.submit(world.quest().slug, world.user("ann"), "Done.")
    world.apply("cat")
    world.kick("ann")
    world.quest().delete()


@flow(None)
def completed_quest_deleted(world: World) -> None:
    """The same for a quest with completion logs."""
    world.admit("ann")
    world.quest().complete()
    world.quest().delete()


@flow({"one": None, "two": None})
def quests_deleted_by_category(world: World) -> None:
    """A category takes its quests with it."""
    world.admit("ann", "ben", quest="one")
    QuestSubmission.submit(world.quest("one").slug, world.user("ann"), "Done.")
    world.quest("one").complete()
    world.admit("ann", quest="two")
    QuestCategory.objects.get(pk=world.category_id).delete()


@flow({"one": None, "two": ANN_IS_IN})
def one_of_two_quests_deleted(world: World) -> None:
    """The other quest is not concerned."""
    world.admit("ann", quest="one")
    world.admit("ann", quest="two")
    world.quest("one").delete()


@flow({"one": None, "two": None})
def quests_deleted_in_bulk(world: World) -> None:
    """The admin deletes selected quests."""
    world.admit("ann", quest="one")
    world.admit("ben", quest="two")
    Quest.objects.filter(pk__in=world.quest_ids).delete()


@flow(None)
def quest_deleted_with_raw_sql_parent_first(world: World) -> None:
    """Django's foreign keys are deferred, so a script may delete the quest before its children."""
    world.admit("ann")
    quest_id = world.quest().pk
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM quests_quest WHERE id = %s", [quest_id])
        cursor.execute("DELETE FROM quests_questparticipant WHERE quest_id = %s", [quest_id])
        cursor.execute("DELETE FROM applications_applicationattempt WHERE quest_id = %s", [quest_id])
        cursor.execute("DELETE FROM applications_application WHERE quest_id = %s", [quest_id])


@flow(UNTOUCHED)
def participating_user_deleted(world: World) -> None:
    """Django clears the assignee first, while the participant is still there."""
    world.admit("ann")
    QuestSubmission.submit(world.quest().slug, world.user("ann"), "Done.")
    world.user("ann").delete()


@flow(ANN_IS_IN)
def assigned_user_of_two_deleted(world: World) -> None:
    """The other one becomes the assignee."""
    world.admit("ann", "ben")
    world.user("ben").delete()


@flow({"one": UNTOUCHED, "two": UNTOUCHED})
def participating_users_deleted_in_bulk(world: World) -> None:
    """The admin deletes selected users."""
    world.admit("ann", "ben", quest="one")
    world.admit("ben", quest="two")
    User.objects.filter(pk__in=[world.user("ann").pk, world.user("ben").pk]).delete()


@flow(UNTOUCHED)
def user_who_completed_deleted(world: World) -> None:
    """The app opens even a completed quest when nobody is left; the log of the reward goes with the user."""
    world.admit("ann")
    world.quest().complete()
    world.user("ann").delete()


@flow({"one": None, "two": None})
def owner_deleted(world: World) -> None:
    """The owner's quests go with everything in them."""
    world.admit("ann", "ben", quest="one")
    world.admit("ann", quest="two")
    world.kick("ann", quest="two")
    world.user("owner").delete()
