"""Quests and their participants, with PeerQuest's columns and PeerQuest's way of writing them.

No method locks a row and every `save()` writes the whole row, from whatever the instance last saw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone
from django.utils.text import slugify

if TYPE_CHECKING:
    from tests.django_app.users.models import User


class QuestCategory(models.Model):
    name = models.CharField(max_length=100)
    description = models.TextField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)


class Quest(models.Model):
    class Status(models.TextChoices):
        OPEN = "open"
        IN_PROGRESS = "in-progress"
        COMPLETED = "completed"

    title = models.CharField(max_length=200)
    description = models.TextField()
    difficulty = models.CharField(max_length=10, default="easy")
    status = models.CharField(max_length=15, choices=Status, default=Status.OPEN)
    xp_reward = models.PositiveIntegerField(default=50)
    gold_reward = models.PositiveIntegerField(default=0)
    commission_fee = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    due_date = models.DateField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    requirements = models.TextField(blank=True)
    resources = models.TextField(blank=True)
    slug = models.SlugField(max_length=250, unique=True, blank=True)
    is_deleted = models.BooleanField(default=False)
    assigned_to = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="assigned_quests",
    )
    category = models.ForeignKey(QuestCategory, on_delete=models.CASCADE, related_name="quests")
    creator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="created_quests")

    class Meta:
        indexes = (
            models.Index(fields=["status", "difficulty"]),
            models.Index(fields=["creator", "status"]),
            models.Index(fields=["assigned_to", "status"]),
            models.Index(fields=["created_at"]),
        )

    def save(self, *args, **kwargs) -> None:
        if not self.slug:
            self.slug = slugify(self.title)
        super().save(*args, **kwargs)

    def assign_to_user(self, user: User) -> QuestParticipant:
        """Let `user` take part and save this quest, whose other columns may be older than the database's."""
        had_participants = self.participants.exists()
        participant = self.participants.filter(user=user).first()
        if participant is None:
            participant = self.participants.create(user=user)
        elif participant.status == QuestParticipant.Status.DROPPED:
            participant.status = QuestParticipant.Status.JOINED
            participant.save()
        self.assigned_to = user
        if not had_participants:
            self.status = self.Status.IN_PROGRESS
        self.save()
        return participant

    def unassign(self) -> None:
        self.assigned_to = None
        if self.status == self.Status.IN_PROGRESS:
            self.status = self.Status.OPEN
        self.save()

    def join(self, user: User) -> QuestParticipant:
        """Take part without an application; only this instance's idea of the status is asked."""
        if self.status != self.Status.OPEN:
            raise ValueError(f"quest {self.pk} is {self.status}, not open")
        return self.participants.create(user=user)

    def remove_participant(self, user: User) -> None:
        """Leave and "owner removes participant" alike: the row is gone, the application is not touched."""
        self.participants.get(user=user).delete()

    def complete(self) -> None:
        """Close the quest; a signal then completes the participants and pays them."""
        self.status = self.Status.COMPLETED
        self.completed_at = timezone.now()
        self.save()

    def soft_delete(self) -> None:
        self.is_deleted = True
        self.save(update_fields=["is_deleted"])


class QuestParticipant(models.Model):
    class Status(models.TextChoices):
        JOINED = "joined"
        IN_PROGRESS = "in_progress"
        COMPLETED = "completed"
        DROPPED = "dropped"

    quest = models.ForeignKey(Quest, on_delete=models.CASCADE, related_name="participants")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="quest_participations")
    status = models.CharField(max_length=15, choices=Status, default=Status.JOINED)
    joined_at = models.DateTimeField(auto_now_add=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    progress_notes = models.TextField(blank=True)
    # Leftovers of an older schema: the app itself neither reads nor fills them, and there is no foreign key.
    application_id = models.BigIntegerField(null=True, blank=True)
    application_date = models.DateTimeField(null=True, blank=True)
    application_message = models.TextField(null=True, blank=True)
    review_notes = models.TextField(null=True, blank=True)
    reviewed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        unique_together = (("quest", "user"),)
        indexes = (
            models.Index(fields=["quest", "status"]),
            models.Index(fields=["user", "status"]),
        )


class QuestSubmission(models.Model):
    quest_participant = models.ForeignKey(QuestParticipant, on_delete=models.CASCADE, related_name="submissions")
    description = models.TextField(blank=True)
    status = models.CharField(max_length=20, default="pending")
    submitted_at = models.DateTimeField(auto_now_add=True)

    @classmethod
    def submit(cls, slug: str, user: User, description: str) -> QuestSubmission:
        """Hand in work for the quest with this slug; whoever does becomes a participant."""
        quest = Quest.objects.get(slug=slug)
        participant, _ = QuestParticipant.objects.get_or_create(quest=quest, user=user)
        QuestSubmissionAttempt.objects.create(participant=participant, quest=quest)
        return cls.objects.create(quest_participant=participant, description=description)


class QuestSubmissionAttempt(models.Model):
    participant = models.ForeignKey(QuestParticipant, on_delete=models.CASCADE, related_name="submission_attempts")
    quest = models.ForeignKey(Quest, on_delete=models.CASCADE, related_name="submission_attempts")
    submitted_at = models.DateTimeField(auto_now_add=True)


class QuestCompletionLog(models.Model):
    """One row per reward paid: what makes visible that somebody else completed a participant first."""

    quest = models.ForeignKey(Quest, on_delete=models.CASCADE, related_name="completion_logs")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="completion_logs")
    xp_earned = models.PositiveIntegerField()
    completed_at = models.DateTimeField(auto_now_add=True)

    @classmethod
    def pay(cls, participant: QuestParticipant) -> None:
        """Complete one participant and book the reward, in one transaction of its own."""
        with transaction.atomic():
            participant.status = QuestParticipant.Status.COMPLETED
            participant.completed_at = timezone.now()
            participant.save()
            cls.objects.create(quest=participant.quest, user=participant.user, xp_earned=participant.quest.xp_reward)
