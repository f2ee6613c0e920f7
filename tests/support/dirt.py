"""Random databases that break many rules at once, and every row of the app's tables as one value."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from hypothesis import strategies as st

from tests.support import factory, plant

_Connection = psycopg.Connection[Any]
Row = tuple[str, int]
"""A table, and the id of a row in it."""
State = dict[Row, dict[str, Any]]

TABLES = (
    "applications_application",
    "applications_applicationattempt",
    "quests_quest",
    "quests_questparticipant",
    "quests_questsubmission",
    "quests_questsubmissionattempt",
)


@dataclass(frozen=True)
class Person:
    """What a user has to do with a quest; each participant with so many submissions."""

    applications: list[str] = field(default_factory=list)
    participants: list[tuple[str, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Quest:
    """A quest, and who is assigned to it: one of its people by number, or else somebody who never took part."""

    status: str
    assignee: int | None
    people: list[Person]


@dataclass(frozen=True)
class Dirt:
    """A database's contents."""

    quests: list[Quest]
    planted: list[str]


_people = st.builds(
    Person,
    st.lists(st.sampled_from(["approved", "approved", "pending", "rejected", "kicked", "archived"]), max_size=3),
    st.lists(
        st.tuples(
            st.sampled_from(["joined", "in_progress", "completed", "dropped", "dropped", "paused"]), st.integers(0, 2)
        ),
        max_size=3,
    ),
)
_quests = st.builds(
    Quest,
    st.sampled_from(["open", "open", "in-progress", "in-progress", "completed", "archived"]),
    st.none() | st.integers(0, 3),
    st.lists(_people, max_size=3),
)
databases = st.builds(
    Dirt,
    st.lists(_quests, min_size=1, max_size=4),
    st.lists(st.sampled_from(sorted(plant.RULES)), max_size=3),
)


def spread(connection: _Connection, dirt: Dirt) -> None:
    """Insert it all, into app tables that nothing guards yet."""
    plant.drop_participant_key(connection)
    for quest in dirt.quests:
        quest_id = factory.quest(connection, status=quest.status)
        users = [_person(connection, quest_id, person) for person in quest.people]
        if quest.assignee is not None:
            plant.assign(connection, quest_id, (users + [factory.user(connection)] * 4)[quest.assignee])
    for rule in dirt.planted:
        plant.RULES[rule](connection)


def _person(connection: _Connection, quest_id: int, person: Person) -> UUID:
    user_id = factory.user(connection)
    applications = [
        factory.application(connection, quest_id, user_id, status=status, reviewed_at=plant.DONE)
        for status in person.applications
    ]
    for number, (status, submissions) in enumerate(person.participants):
        # The app's own column without a foreign key, which may hold anything.
        linked = [*applications, None, 4711, None][number]
        participant_id = factory.participant(connection, quest_id, user_id, status=status, application_id=linked)
        for _ in range(submissions):
            factory.insert(
                connection,
                "quests_questsubmission",
                {
                    "submission_text": "",
                    "status": "new",
                    "submitted_at": plant.DONE,
                    "quest_participant_id": participant_id,
                },
            )
            factory.insert(
                connection,
                "quests_questsubmissionattempt",
                {
                    "attempt_number": 1,
                    "timestamp": plant.DONE,
                    "participant_id": participant_id,
                    "quest_id": quest_id,
                },
            )
    return user_id


def state(connection: _Connection) -> State:
    """Read every row of the app's tables that a repair could touch."""
    rows = connection.execute(
        " union all ".join(f"select '{name}', id, to_jsonb({name}) from public.{name}" for name in TABLES).encode()
    ).fetchall()
    return {(name, row_id): content for name, row_id, content in rows}


def difference(before: State, after: State) -> dict[Row, tuple[dict[str, Any] | None, dict[str, Any] | None]]:
    """Return the rows that differ, each before and after."""
    return {row: (before.get(row), after.get(row)) for row in before | after if before.get(row) != after.get(row)}
