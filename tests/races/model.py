"""The rules in plain Python, written from the design and not from the SQL: what the database must agree with.

A statement changes rows first and then has its effects, row by row. In which order PostgreSQL visits the rows of an
UPDATE or DELETE is its own affair, so a statement has several right results, one per order.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import TypeVar
from uuid import UUID

APPLICATION_STATUSES = ("pending", "approved", "rejected", "kicked")
PARTICIPANT_STATUSES = ("joined", "in_progress", "completed", "dropped")
QUEST_STATUSES = ("open", "in-progress", "completed")

Key = TypeVar("Key")
Value = TypeVar("Value")
Pair = tuple[int, UUID]
# What a refusal is matched by: SQLSTATE and constraint.
Refusals = frozenset[tuple[str, str]]
APPROVAL_KEY = ("23505", "integrity_approved_application_key")


@dataclass(frozen=True)
class Quest:
    """A quest's derived columns."""

    status: str
    assignee: UUID | None


@dataclass(frozen=True)
class Application:
    """An application."""

    quest: int
    user: UUID
    status: str

    @property
    def pair(self) -> Pair:
        """Whom it asks a participant for."""
        return self.quest, self.user


@dataclass(frozen=True)
class Participant:
    """A participant; there is one per pair of quest and user, which is its key.

    Args:
        status: The app's.
        joined: Sorts like joined_at.
        age: Sorts like the id.
    """

    status: str
    joined: tuple[int, int]
    age: int

    @property
    def active(self) -> bool:
        """Whether it takes part."""
        return self.status != "dropped"


class Refused(Exception):
    """The statement is refused, with one of these."""

    def __init__(self, refusals: Iterable[tuple[str, str]]) -> None:
        super().__init__()
        self.refusals = frozenset(refusals)


@dataclass
class World:
    """All rows of one history, as one transaction sees them.

    Args:
        quests: By id.
        applications: By id.
        participants: By pair.
        transaction: Counts transactions: rows made in a later one are joined later.
        born: Counts participants.
        meanwhile: What may have refused the statement that led here, depending on the order of its rows.
    """

    quests: dict[int, Quest] = field(default_factory=dict)
    applications: dict[int, Application] = field(default_factory=dict)
    participants: dict[Pair, Participant] = field(default_factory=dict)
    transaction: int = 0
    born: int = 0
    meanwhile: Refusals = field(default=frozenset(), compare=False)

    def copy(self) -> "World":
        """Return a world that can be changed without changing this one."""
        return replace(
            self,
            quests=dict(self.quests),
            applications=dict(self.applications),
            participants=dict(self.participants),
            meanwhile=frozenset(),
        )

    def violated(self) -> Refusals:
        """Return the constraints that would refuse a commit of this, each with its SQLSTATE."""
        found = set()
        if any(application.quest not in self.quests for application in self.applications.values()):
            found.add(("23503", "applications_application_quest_id_fk"))
        for (quest, _), participant in self.participants.items():
            if quest not in self.quests:
                found.add(("23503", "quests_questparticipant_quest_id_fk"))
                if participant.active:
                    found.add(("23503", "integrity_participant_has_assigned_quest"))
        return frozenset(found)

    def insert_quest(self, identifier: int, quest: Quest) -> list["World"]:
        """Insert a quest that claims a status and an assignee."""
        _require(quest.status in QUEST_STATUSES, "23514", "integrity_quest_status_known")
        after = self.copy()
        after.quests[identifier] = quest
        after._derive(identifier)
        return [after]

    def write_quest(self, identifier: int, quest: Quest) -> list["World"]:
        """Write a status and an assignee, as a save of a stale instance does."""
        after = self.copy()
        if identifier in self.quests:
            _require(quest.status in QUEST_STATUSES, "23514", "integrity_quest_status_known")
            after.quests[identifier] = quest
            after._derive(identifier)
        return [after]

    def delete_quest(self, identifier: int) -> list["World"]:
        """Delete a quest and nothing else."""
        after = self.copy()
        after.quests.pop(identifier, None)
        return [after]

    def insert_applications(self, rows: dict[int, Application]) -> list["World"]:
        """Insert applications in one statement."""
        self._require_applications(dict(rows), rows.values())
        after = self.copy()
        after.applications |= rows
        for identifier, row in rows.items():
            after._application_changed(identifier, None, row)
        return [after]

    def write_applications(self, rows: dict[int, Application | None]) -> list["World"]:
        """Change applications in one statement; None deletes."""
        leaving = {self.applications[identifier].pair for identifier in rows if self._approves(identifier)}
        coming = {
            new.pair
            for identifier, new in rows.items()
            if new and new.status == "approved" and not self._approves(identifier, new.pair)
        }
        # A key is checked row by row: who comes before the other has left is refused.
        meanwhile = frozenset({APPROVAL_KEY}) if leaving & coming else frozenset()
        self._require_applications(
            rows,
            [new for identifier, new in rows.items() if new and new.status != self.applications[identifier].status],
            meanwhile,
        )

        def change(after: World) -> None:
            for identifier, new in rows.items():
                _put(after.applications, identifier, new)

        def effect(after: World, identifier: int) -> None:
            after._application_changed(identifier, self.applications[identifier], rows[identifier])

        results = self._in_every_order(change, effect, tuple(rows))
        for after in results:
            after.meanwhile = meanwhile
        return results

    def insert_participants(self, rows: Sequence[tuple[Pair, str, int]]) -> list["World"]:
        """Insert participants, each with a status and the day it joined, in one statement."""
        self._require_participants([pair for pair, _, _ in rows], [status for _, status, _ in rows], self.participants)
        after = self.copy()
        for pair, status, day in rows:
            after._add_participant(pair, status, (0, day))
        for pair, _, _ in rows:
            after._participant_changed(pair, None, pair)
        return [after]

    def write_participants(self, rows: dict[Pair, str | None]) -> list["World"]:
        """Change the statuses of participants in one statement; None deletes."""
        changed = [status for pair, status in rows.items() if status and status != self.participants[pair].status]
        self._require_participants([], changed, {})

        def change(after: World) -> None:
            for pair, status in rows.items():
                _put(after.participants, pair, status and replace(after.participants[pair], status=status))

        def effect(after: World, pair: Pair) -> None:
            after._participant_changed(pair, self.participants[pair], pair)

        return self._in_every_order(change, effect, tuple(rows))

    def move_participant(self, source: Pair, target: Pair) -> list["World"]:
        """Give a participant another quest or user."""
        others = {pair: row for pair, row in self.participants.items() if pair != source}
        self._require_participants([target], [], others)
        after = self.copy()
        after.participants[target] = after.participants.pop(source)
        after._participant_changed(source, self.participants[source], target)
        return [after]

    def _in_every_order(
        self, change: Callable[["World"], None], effect: Callable[["World", Key], None], keys: tuple[Key, ...]
    ) -> list["World"]:
        changed = self.copy()
        change(changed)
        results: list[World] = []
        for order in permutations(keys):
            after = changed.copy()
            for key in order:
                effect(after, key)
            if after not in results:
                results.append(after)
        return results

    def _application_changed(self, identifier: int, old: Application | None, new: Application | None) -> None:
        was = old.pair if old and old.status == "approved" else None
        now = new.pair if new and new.status == "approved" else None
        if was == now:
            return
        if now is not None:
            self._approved(now)
        if was is not None:
            self._approval_ended(was)

    def _approved(self, pair: Pair) -> None:
        participant = self.participants.get(pair)
        if participant is None:
            self._add_participant(pair, "joined", (1, self.transaction))
        elif participant.active:
            return
        else:
            self.participants[pair] = replace(participant, status="joined")
        self._derive(pair[0])

    def _approval_ended(self, pair: Pair) -> None:
        participant = self.participants.get(pair)
        another = any(row.pair == pair and row.status == "approved" for row in self.applications.values())
        if participant and participant.status in ("joined", "in_progress") and not another:
            self.participants[pair] = replace(participant, status="dropped")
            self._participant_changed(pair, participant, pair)

    def _participant_changed(self, source: Pair, old: Participant | None, target: Pair) -> None:
        was_active = old is not None and old.active
        if was_active and not self._takes_part(source):
            for identifier, row in self.applications.items():
                if row.pair == source and row.status == "approved":
                    self.applications[identifier] = replace(row, status="kicked")
            self._derive(source[0])
        if self._takes_part(target) and not (was_active and source == target):
            self._derive(target[0])

    def _derive(self, identifier: int) -> None:
        quest = self.quests.get(identifier)
        if quest is None:
            return
        active = sorted(
            (participant.joined, participant.age, user)
            for (of_quest, user), participant in self.participants.items()
            if of_quest == identifier and participant.active
        )
        users = [user for _, _, user in active]
        assignee = quest.assignee if quest.assignee in users else next(iter(users), None)
        status = quest.status if quest.status == "completed" else "in-progress" if assignee else "open"
        self.quests[identifier] = Quest(status, assignee)

    def _takes_part(self, pair: Pair) -> bool:
        return pair in self.participants and self.participants[pair].active

    def _add_participant(self, pair: Pair, status: str, joined: tuple[int, int]) -> None:
        self.born += 1
        self.participants[pair] = Participant(status, joined, self.born)

    def _approves(self, identifier: int, pair: Pair | None = None) -> bool:
        row = self.applications[identifier]
        return row.status == "approved" and pair in (None, row.pair)

    def _require_applications(
        self,
        rows: Mapping[int, Application | None],
        with_new_status: Iterable[Application],
        meanwhile: Refusals = frozenset(),
    ) -> None:
        refusals = set()
        after = [row for row in ({**self.applications, **rows}).values() if row]
        approved = [row.pair for row in after if row.status == "approved"]
        if len(approved) > len(set(approved)):
            refusals.add(APPROVAL_KEY)
        if any(row.status not in APPLICATION_STATUSES for row in with_new_status):
            refusals.add(("23514", "integrity_application_status_known"))
        if refusals:
            raise Refused(refusals | meanwhile)

    def _require_participants(
        self, pairs: Sequence[Pair], statuses: Sequence[str], others: dict[Pair, Participant]
    ) -> None:
        refusals = set()
        if len(set(pairs)) < len(pairs) or any(pair in others for pair in pairs):
            refusals.add(("23505", "quests_questparticipant_quest_id_user_id_key"))
        if any(status not in PARTICIPANT_STATUSES for status in statuses):
            refusals.add(("23514", "integrity_participant_status_known"))
        if refusals:
            raise Refused(refusals)


def _require(condition: bool, sqlstate: str, constraint: str) -> None:
    if not condition:
        raise Refused([(sqlstate, constraint)])


def _put(rows: dict[Key, Value], key: Key, value: Value | None) -> None:
    if value is None:
        del rows[key]
    else:
        rows[key] = value
