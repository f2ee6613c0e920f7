"""People and quests for one flow, under names no other flow uses, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID, uuid4

from tests.django_app import endpoints
from tests.django_app.applications.models import Application
from tests.django_app.quests.models import Quest, QuestCategory, QuestCompletionLog, QuestParticipant
from tests.django_app.users.models import User


@dataclass(frozen=True)
class QuestState:
    """All that an end state says about one quest; people go by their names in the flow."""

    status: str = "open"
    assigned_to: str | None = None
    participants: dict[str, str] = field(default_factory=dict)
    applications: dict[str, list[str]] = field(default_factory=dict)
    """Each applicant's applications, oldest first."""
    rewards: int = 0


class World:
    """Makes users and quests on first mention, and remembers them so that the end state can be read by name.

    Everything a method returns is freshly loaded: a flow that wants a stale instance keeps an older one.
    """

    def __init__(self) -> None:
        self._token = uuid4().hex[:12]
        self._user_ids: dict[str, UUID] = {}
        self._quest_ids: dict[str, int] = {}

    @cached_property
    def category_id(self) -> int:
        return QuestCategory.objects.create(name=f"category {self._token}").pk

    @property
    def quest_ids(self) -> list[int]:
        return list(self._quest_ids.values())

    def user(self, name: str) -> User:
        if name not in self._user_ids:
            username = f"{name}-{self._token}"
            user = User.objects.create_user(username, email=f"{username}@example.test")
            self._user_ids[name] = user.pk
        return User.objects.get(pk=self._user_ids[name])

    def quest(self, name: str = "quest", **columns: Any) -> Quest:
        """Return the quest, created with `columns` on first mention."""
        if name not in self._quest_ids:
            quest = Quest.objects.create(
                title=f"{name} {self._token}",
                description=f"About {name}.",
                category_id=self.category_id,
                creator=self.user("owner"),
                **columns,
            )
            self._quest_ids[name] = quest.pk
        elif columns:
            raise ValueError(f"quest {name} exists already, {sorted(columns)} would be ignored")
        return Quest.objects.get(pk=self._quest_ids[name])

    def application(self, user: str, quest: str = "quest") -> Application:
        """Return the user's newest application with its quest and applicant loaded along, as endpoints do."""
        applications = Application.objects.select_related("quest", "applicant")
        return applications.filter(quest=self.quest(quest), applicant=self.user(user)).latest("pk")

    def participant(self, user: str, quest: str = "quest") -> QuestParticipant:
        return QuestParticipant.objects.get(quest=self.quest(quest), user=self.user(user))

    def apply(self, *users: str, quest: str = "quest") -> None:
        for user in users:
            Application.apply(self.quest(quest), self.user(user))

    def approve(self, user: str, quest: str = "quest") -> None:
        endpoints.approve(self.application(user, quest).pk, self.user("owner"))

    def kick(self, user: str, quest: str = "quest") -> None:
        endpoints.kick(self.application(user, quest).pk, self.user("owner"))

    def leave(self, user: str, quest: str = "quest") -> None:
        self.quest(quest).remove_participant(self.user(user))

    def admit(self, *users: str, quest: str = "quest") -> None:
        """Let each user apply and be approved, one after the other, so that nobody rejects anybody."""
        for user in users:
            self.apply(user, quest=quest)
            self.approve(user, quest)

    def state(self) -> dict[str, QuestState | None]:
        """Read what the database says about every quest of this world; None for one that is gone."""
        names = {user_id: name for name, user_id in self._user_ids.items()}
        quests = Quest.objects.in_bulk(self.quest_ids)
        return {
            name: self._quest_state(quests[quest_id], names) if quest_id in quests else None
            for name, quest_id in self._quest_ids.items()
        }

    @staticmethod
    def _quest_state(quest: Quest, names: dict[UUID, str]) -> QuestState:
        applications: dict[str, list[str]] = {}
        for applicant_id, status in quest.applications.order_by("pk").values_list("applicant_id", "status"):
            applications.setdefault(names[applicant_id], []).append(status)
        return QuestState(
            status=quest.status,
            assigned_to=names[quest.assigned_to_id] if quest.assigned_to_id else None,
            participants={
                names[user_id]: status for user_id, status in quest.participants.values_list("user_id", "status")
            },
            applications=applications,
            rewards=QuestCompletionLog.objects.filter(quest=quest).count(),
        )
