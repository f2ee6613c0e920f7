"""What a request, the admin or a management command does: load something, change it, save all of it.

Nothing here opens a transaction, because the application's endpoints do not either.
"""

from typing import Any

from django.db import models
from django.forms import modelform_factory

from tests.django_app.applications.models import Application
from tests.django_app.quests.models import QuestParticipant
from tests.django_app.users.models import User


def approve(application_id: int, reviewer: User) -> None:
    Application.objects.select_related("quest", "applicant").get(pk=application_id).approve(reviewer)


def reject(application_id: int, reviewer: User) -> None:
    Application.objects.select_related("quest", "applicant").get(pk=application_id).reject(reviewer)


def kick(application_id: int, reviewer: User) -> None:
    Application.objects.select_related("quest", "applicant").get(pk=application_id).kick(reviewer)


def patch(model: type[models.Model], pk: Any, **columns: Any) -> None:
    """PATCH as a REST serializer does it: set what was sent, save the whole row."""
    instance = model._default_manager.get(pk=pk)
    for name, value in columns.items():
        setattr(instance, name, value)
    instance.save()


def patch_participant(quest_id: int, user: User, **columns: Any) -> None:
    patch(QuestParticipant, QuestParticipant.objects.get(quest_id=quest_id, user=user).pk, **columns)


def admin_save(model: type[models.Model], pk: Any, **columns: Any) -> None:
    """Save Django's own form with these fields alone: validated, then again the whole row."""
    form_class = modelform_factory(model, fields=list(columns))
    form = form_class(data=columns, instance=model._default_manager.get(pk=pk))
    if not form.is_valid():
        raise ValueError(form.errors.as_text())
    form.save()


def reset_application(application_id: int) -> None:
    """Reset an application to pending as the management command does: no signal runs, nobody is kicked."""
    Application.objects.filter(pk=application_id).update(
        status=Application.Status.PENDING, reviewed_at=None, reviewed_by=None
    )
