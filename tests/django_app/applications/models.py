"""Applications to quests, with PeerQuest's columns and PeerQuest's way of writing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone

from tests.django_app.quests.models import Quest, QuestParticipant

if TYPE_CHECKING:
    from tests.django_app.users.models import User


class Application(models.Model):
    class Status(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        REJECTED = "rejected"
        KICKED = "kicked"

    # A re-application is a new row, so (quest, applicant) is indexed but not unique.
    quest = models.ForeignKey(Quest, on_delete=models.CASCADE, related_name="applications")
    applicant = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="applications")
    status = models.CharField(max_length=15, choices=Status, default=Status.PENDING)
    applied_at = models.DateTimeField(auto_now_add=True)
    reviewed_at = models.DateTimeField(null=True, blank=True)
    reviewed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="reviewed_applications",
    )

    class Meta:
        indexes = (
            models.Index(fields=["quest", "status"]),
            models.Index(fields=["applicant", "status"]),
            models.Index(fields=["applied_at"]),
            models.Index(fields=["quest", "applicant"]),
        )

    @classmethod
    def apply(cls, quest: Quest, applicant: User) -> Application:
        application = cls.objects.create(quest=quest, applicant=applicant)
        attempts = ApplicationAttempt.objects.filter(quest=quest, applicant=applicant)
        last = attempts.aggregate(last=models.Max("attempt_number"))["last"] or 0
        ApplicationAttempt.objects.create(
            quest=quest, applicant=applicant, application=application, attempt_number=last + 1
        )
        return application

    def _review(self, status: Status, reviewer: User) -> None:
        self.status = status
        self.reviewed_by = reviewer
        self.reviewed_at = timezone.now()
        self.save()

    def approve(self, reviewer: User) -> QuestParticipant:
        """Approve, assign, reject the others.

        `self.quest` was loaded before any of this, so what `assign_to_user` saves is stale by then if the
        database has derived the quest meanwhile.
        """
        quest = self.quest
        with transaction.atomic():
            self._review(self.Status.APPROVED, reviewer)
            participant = quest.assign_to_user(self.applicant)
            others = Application.objects.filter(quest=quest, status=self.Status.PENDING).exclude(pk=self.pk)
            for other in others:
                other.reject(reviewer)
        return participant

    def reject(self, reviewer: User) -> None:
        self._review(self.Status.REJECTED, reviewer)

    def kick(self, reviewer: User) -> None:
        """Remove an approved participant.

        Saving the participant makes a signal clear the assignee through another instance; saving the quest,
        read before that, writes the kicked user back.
        """
        quest = self.quest
        with transaction.atomic():
            self._review(self.Status.KICKED, reviewer)
            participant = QuestParticipant.objects.get(quest=quest, user=self.applicant)
            participant.status = QuestParticipant.Status.DROPPED
            participant.save()
            if quest.status == Quest.Status.IN_PROGRESS:
                quest.status = Quest.Status.OPEN
            quest.save()


class ApplicationAttempt(models.Model):
    quest = models.ForeignKey(Quest, on_delete=models.CASCADE, related_name="application_attempts")
    applicant = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="application_attempts"
    )
    application = models.ForeignKey(Application, on_delete=models.CASCADE, related_name="attempts")
    attempt_number = models.PositiveIntegerField()
    timestamp = models.DateTimeField(auto_now_add=True)

    class Meta:
        unique_together = (("quest", "applicant", "attempt_number"),)
