"""What PeerQuest's signals do behind a save or a delete, each through a quest instance of its own."""

from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from tests.django_app.quests.models import Quest, QuestCompletionLog, QuestParticipant

_ACTIVE = (QuestParticipant.Status.JOINED, QuestParticipant.Status.IN_PROGRESS)


@receiver(post_save, sender=QuestParticipant)
def clear_assignee_of_dropped_participant(instance: QuestParticipant, **_kwargs) -> None:
    if instance.status != QuestParticipant.Status.DROPPED:
        return
    quest = Quest.objects.get(pk=instance.quest_id)
    if quest.assigned_to_id == instance.user_id:
        quest.assigned_to = None
        quest.save()


@receiver(post_delete, sender=QuestParticipant)
def release_quest_of_deleted_participant(instance: QuestParticipant, **_kwargs) -> None:
    quest = Quest.objects.filter(pk=instance.quest_id).first()
    if quest is None:
        return
    if quest.assigned_to_id == instance.user_id:
        quest.assigned_to = None
    if not quest.participants.filter(status__in=_ACTIVE).exists():
        quest.status = Quest.Status.OPEN
    quest.save()


@receiver(post_save, sender=Quest)
def complete_participants_of_completed_quest(instance: Quest, update_fields: frozenset[str] | None, **_kwargs) -> None:
    if instance.status != Quest.Status.COMPLETED or update_fields is not None:
        return
    for participant in instance.participants.filter(status__in=_ACTIVE):
        QuestCompletionLog.pay(participant)
