"""Random histories of one session, judged by an independent model of the rules.

``make histories`` runs the long search. A failure names its seed: QUEST_INTEGRITY_SEED repeats it.
"""

import os
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, ClassVar
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg import errors, sql

from tests.races.model import (
    APPLICATION_STATUSES,
    APPROVAL_KEY,
    PARTICIPANT_STATUSES,
    QUEST_STATUSES,
    Application,
    Pair,
    Participant,
    Quest,
    Refused,
    World,
)
from tests.support import factory

SEED_VARIABLE = "QUEST_INTEGRITY_SEED"
LAW_FOREIGN_KEYS = frozenset(
    {
        ("23503", "integrity_approved_application_has_participant"),
        ("23503", "integrity_assignee_is_participant"),
        ("23503", "integrity_participant_has_assigned_quest"),
    }
)
# A statement that touches more rows than this has more right results than are worth computing.
MOST_ROWS = 4

_ids = count(2_000_000_000)

# Most are known: an unknown one ends the transaction.
statuses = st.sampled_from([*APPLICATION_STATUSES * 2, *["approved"] * 4, "lost"])
participant_statuses = st.sampled_from([*PARTICIPANT_STATUSES * 3, "lost"])
quest_statuses = st.sampled_from([*QUEST_STATUSES * 4, "lost"])


class Histories(RuleBasedStateMachine):
    """One session's history on quests of its own, next to a model of it."""

    connection: ClassVar[psycopg.Connection[Any]]
    users: ClassVar[list[UUID]]
    category: ClassVar[int]
    # Statements sent, which is what a search is measured in.
    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.committed = self.world
        self.quests: list[int] = []
        self.open = False
        self.savepoints: list[tuple[World, bool]] = []
        # Constraints are checked after each statement: SET CONSTRAINTS ALL IMMEDIATE.
        self.immediate = False

    def teardown(self) -> None:
        if self.open:
            self.connection.execute("rollback")

    @initialize(quests=st.integers(1, 2), users=st.integers(1, 3))
    def populate(self, quests: int, users: int) -> None:
        for _ in range(quests):
            self.insert_quest("open", None)
        rows = {next(_ids): Application(quest, user, "pending") for quest in self.quests for user in self.users[:users]}
        self._insert_applications(rows, by_copy=False)

    # Transactions.

    @precondition(lambda self: not self.open)
    @rule(with_savepoint=st.booleans())
    def begin(self, with_savepoint: bool) -> None:
        self._begin()
        self._control("begin")
        self.open = True
        if with_savepoint:
            self.savepoint()

    @precondition(lambda self: self.open)
    @rule()
    def commit(self) -> None:
        expected = self.world.violated()
        refusal = self._refusal("commit")
        self._expect(refusal, expected)
        self._end(self.committed if expected else self.world)

    @precondition(lambda self: self.open)
    @rule()
    def rollback(self) -> None:
        self._control("rollback")
        self._end(self.committed)

    @precondition(lambda self: self.open and len(self.savepoints) < 3)
    @rule()
    def savepoint(self) -> None:
        self._control(f"savepoint s{len(self.savepoints)}")
        self.savepoints.append((self.world, self.immediate))

    @precondition(lambda self: self.savepoints)
    @rule()
    def release(self) -> None:
        self.savepoints.pop()
        self._control(f"release savepoint s{len(self.savepoints)}")

    @precondition(lambda self: self.savepoints)
    @rule()
    def rollback_to(self) -> None:
        self.world, self.immediate = self.savepoints.pop()
        name = f"s{len(self.savepoints)}"
        self._control(f"rollback to savepoint {name}; release savepoint {name}")

    @precondition(lambda self: self.open)
    @rule(stay=st.booleans())
    def check_now(self, stay: bool) -> None:
        expected = self.world.violated()
        refusal = self._refusal("set constraints all immediate")
        self._expect(refusal, expected)
        if refusal:
            self._give_up()
        elif stay:
            self.immediate = True
        else:
            self._control("set constraints all deferred")
            self.immediate = False

    # Statements.

    @rule(status=quest_statuses, assignee=st.none() | st.integers(0, 3))
    def insert_quest(self, status: str, assignee: int | None) -> None:
        quest = next(_ids)
        user = None if assignee is None else self.users[assignee]
        self.quests.append(quest)

        def run() -> None:
            factory.quest(
                self.connection,
                id=quest,
                slug=str(quest),
                status=status,
                assigned_to_id=user,
                category_id=self.category,
                creator_id=self.users[3],
            )

        self._statement(lambda world: world.insert_quest(quest, Quest(status, user)), run)

    @rule(data=st.data(), status=quest_statuses, assignee=st.none() | st.integers(0, 3))
    def write_quest(self, data: st.DataObject, status: str, assignee: int | None) -> None:
        quest = data.draw(self._quest(), "quest")
        user = None if assignee is None else self.users[assignee]
        self._statement(
            lambda world: world.write_quest(quest, Quest(status, user)),
            "update public.quests_quest set title = title, status = %s, assigned_to_id = %s where id = %s",
            [status, user, quest],
        )

    @rule(data=st.data(), children_first=st.booleans())
    def delete_quest(self, data: st.DataObject, children_first: bool) -> None:
        quest = data.draw(self._quest(), "quest")
        if children_first:
            applications = [key for key, row in self.world.applications.items() if row.quest == quest]
            self._delete_applications(applications[:MOST_ROWS])
            self._delete_participants([pair for pair in self.world.participants if pair[0] == quest])
        self._statement(
            lambda world: world.delete_quest(quest), "delete from public.quests_quest where id = %s", [quest]
        )

    @rule(data=st.data(), by_copy=st.booleans())
    def insert_applications(self, data: st.DataObject, by_copy: bool) -> None:
        row = st.builds(Application, self._quest(), st.sampled_from(self.users[:3]), statuses)
        rows = data.draw(st.lists(row, min_size=1, max_size=MOST_ROWS), "rows")
        self._insert_applications({next(_ids): row for row in rows}, by_copy)

    @precondition(lambda self: self.world.applications)
    @rule(data=st.data())
    def write_applications(self, data: st.DataObject) -> None:
        chosen = data.draw(self._some(self.world.applications), "applications")
        new = {identifier: data.draw(statuses, str(identifier)) for identifier in chosen}
        if len(set(new.values())) == 1:
            query = "update public.applications_application set status = %s where id = any(%s)"
            values: list[Any] = [next(iter(new.values())), chosen]
        else:
            query = """
                update public.applications_application as application
                set status = new.status
                from unnest(%s::bigint[], %s::text[]) as new (id, status)
                where application.id = new.id
                """
            values = [chosen, list(new.values())]
        rows: dict[int, Application | None] = {
            identifier: Application(*self.world.applications[identifier].pair, status)
            for identifier, status in new.items()
        }
        self._statement(lambda world: world.write_applications(rows), query, values)

    @precondition(lambda self: self.world.applications)
    @rule(data=st.data(), status=statuses)
    def move_application(self, data: st.DataObject, status: str) -> None:
        identifier = data.draw(st.sampled_from(list(self.world.applications)), "application")
        quest, user = data.draw(self._pairs(), "to")
        row = Application(quest, user, status)
        self._statement(
            lambda world: world.write_applications({identifier: row}),
            """
            update public.applications_application
            set quest_id = %s, applicant_id = %s, status = %s
            where id = %s
            """,
            [quest, user, status, identifier],
        )

    @precondition(lambda self: self.world.applications)
    @rule(data=st.data())
    def delete_applications(self, data: st.DataObject) -> None:
        self._delete_applications(data.draw(self._some(self.world.applications), "applications"))

    @rule(data=st.data(), by_copy=st.booleans())
    def insert_participants(self, data: st.DataObject, by_copy: bool) -> None:
        row = st.tuples(self._free_pairs(), participant_statuses, st.integers(0, 2))
        rows = data.draw(st.lists(row, min_size=1, max_size=MOST_ROWS), "rows")
        table = "quests_questparticipant"
        columns = ("quest_id", "user_id", "status", "joined_at", "progress_notes")
        values = [(*pair, status, f"2025-01-0{day + 1}", "") for pair, status, day in rows]
        self._statement(
            lambda world: world.insert_participants(rows), lambda: self._insert(table, columns, values, by_copy)
        )

    @precondition(lambda self: self.world.participants)
    @rule(data=st.data())
    def write_participants(self, data: st.DataObject) -> None:
        chosen = data.draw(self._some(self.world.participants), "participants")
        new = {pair: data.draw(participant_statuses, str(pair)) for pair in chosen}
        self._statement(
            lambda world: world.write_participants(dict(new)),
            """
            update public.quests_questparticipant as participant
            set status = new.status
            from unnest(%s::bigint[], %s::uuid[], %s::text[]) as new (quest_id, user_id, status)
            where (participant.quest_id, participant.user_id) = (new.quest_id, new.user_id)
            """,
            [*map(list, zip(*chosen, strict=True)), list(new.values())],
        )

    @precondition(lambda self: self.world.participants)
    @rule(data=st.data())
    def move_participant(self, data: st.DataObject) -> None:
        source = data.draw(st.sampled_from(list(self.world.participants)), "participant")
        target = data.draw(self._free_pairs(), "to")
        self._statement(
            lambda world: world.move_participant(source, target),
            """
            update public.quests_questparticipant
            set quest_id = %s, user_id = %s
            where quest_id = %s and user_id = %s
            """,
            [*target, *source],
        )

    @precondition(lambda self: self.world.participants)
    @rule(data=st.data())
    def delete_participants(self, data: st.DataObject) -> None:
        self._delete_participants(data.draw(self._some(self.world.participants), "participants"))

    def _delete_applications(self, identifiers: list[int]) -> None:
        self._statement(
            lambda world: world.write_applications(dict.fromkeys(identifiers)),
            "delete from public.applications_application where id = any(%s)",
            [identifiers],
        )

    def _delete_participants(self, pairs: list[Pair]) -> None:
        self._statement(
            lambda world: world.write_participants(dict.fromkeys(pairs)),
            """
            delete from public.quests_questparticipant as participant
            using unnest(%s::bigint[], %s::uuid[]) as gone (quest_id, user_id)
            where (participant.quest_id, participant.user_id) = (gone.quest_id, gone.user_id)
            """,
            [[quest for quest, _ in pairs], [user for _, user in pairs]],
        )

    def _insert_applications(self, rows: dict[int, Application], by_copy: bool) -> None:
        table = "applications_application"
        columns = ("id", "quest_id", "applicant_id", "status", "applied_at")
        values = [(identifier, *row.pair, row.status, "2025-01-01") for identifier, row in rows.items()]
        self._statement(
            lambda world: world.insert_applications(rows), lambda: self._insert(table, columns, values, by_copy)
        )

    def _insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], by_copy: bool) -> None:
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        with self.connection.cursor() as cursor:
            if by_copy:
                query = sql.SQL("copy public.{} ({}) from stdin").format(sql.Identifier(table), names)
                with cursor.copy(query) as copy:
                    for row in rows:
                        copy.write_row(row)
                return
            places = sql.SQL(", ").join(
                [sql.SQL("({})").format(sql.SQL(", ").join(sql.Placeholder() * len(columns)))] * len(rows)
            )
            query = sql.SQL("insert into public.{} ({}) values {}").format(sql.Identifier(table), names, places)
            cursor.execute(query, [value for row in rows for value in row])

    # What follows a statement.

    def _statement(
        self,
        foretell: Callable[[World], list[World]],
        statement: str | Callable[[], None],
        values: Sequence[Any] = (),
    ) -> None:
        """Run a statement in the database and in the model, and compare."""
        if not self.open:
            self._begin()
        try:
            right, expected = foretell(self.world), frozenset[tuple[str, str]]()
        except Refused as refused:
            right, expected = [], refused.refusals
        if not self.open:
            # The statement commits too.
            expected = expected or right[0].violated()
        refusal = self._refusal(statement, values)
        certain = bool(expected)
        expected = expected.union(*(world.meanwhile for world in right))
        if self.immediate:
            # Checked before the mechanism has acted, the law may refuse what it would let pass at the commit.
            expected |= LAW_FOREIGN_KEYS.union(*(world.violated() for world in right))
        self._expect(refusal, expected, certain)
        if refusal is None:
            self.world = self._agreed(right)
            if not self.open:
                self._end(self.world)
        elif self.open:
            self._give_up()
        else:
            self._end(self.committed)

    def _control(self, statement: str) -> None:
        type(self).steps += 1
        self.connection.execute(statement)

    def _refusal(self, statement: str | Callable[[], None], values: Sequence[Any] = ()) -> tuple[str, str] | None:
        type(self).steps += 1
        try:
            if callable(statement):
                statement()
            else:
                self.connection.execute(statement, values or None)
        except errors.IntegrityError as error:
            return str(error.sqlstate), str(error.diag.constraint_name)
        return None

    def _expect(
        self, refusal: tuple[str, str] | None, expected: frozenset[tuple[str, str]], certain: bool = True
    ) -> None:
        if expected and certain:
            assert refusal in expected, f"the model expects one of {set(expected)}, the database says {refusal}"
        else:
            assert refusal is None or refusal in expected, f"the model expects no refusal, found {refusal}"

    def _agreed(self, right: list[World]) -> World:
        found = self._found()
        for world in right:
            if _shown(world) == found:
                return world
        raise AssertionError(f"the model expects {[_shown(world) for world in right]}, found {found}")

    def _found(self) -> dict[str, Any]:
        """Read this history's rows, in the form of ``_shown``."""
        rows = self.connection.execute(
            """
            select 1, id, status, assigned_to_id, null::bigint, null::bigint
            from public.quests_quest where id = any(%(quests)s)
            union all
            select 2, id, status, applicant_id, quest_id, null
            from public.applications_application where quest_id = any(%(quests)s)
            union all
            select
              3, quest_id, status, user_id, null,
              rank() over (order by joined_at, id)
            from public.quests_questparticipant where quest_id = any(%(quests)s)
            """,
            {"quests": self.quests},
            prepare=True,
        ).fetchall()
        return {
            "quests": {row[1]: (row[2], row[3]) for row in rows if row[0] == 1},
            "applications": {row[1]: (row[4], row[3], row[2]) for row in rows if row[0] == 2},
            "participants": {(row[1], row[3]): (row[5], row[2]) for row in rows if row[0] == 3},
        }

    def _begin(self) -> None:
        self.committed = self.world
        self.world = self.world.copy()
        self.world.transaction += 1

    def _end(self, world: World) -> None:
        """After the end of a transaction: compare what is committed, and ask the views."""
        self.world = self._agreed([world])
        self.open = self.immediate = False
        self.savepoints.clear()
        broken = self.connection.execute(
            "select key from integrity.violations where severity = 'error' and quest_id = any(%s)",
            [self.quests],
            prepare=True,
        ).fetchall()
        assert not broken, broken

    def _give_up(self) -> None:
        """Leave a transaction that an error has ended, as far as there is a savepoint to go back to."""
        if self.savepoints:
            self.rollback_to()
        else:
            self.rollback()

    # What to choose from.

    def _quest(self) -> st.SearchStrategy[int]:
        # One that is gone is of use now and then: whatever refers to it is refused.
        return st.sampled_from([*list(self.world.quests) * 8, *self.quests])

    def _pairs(self) -> st.SearchStrategy[Pair]:
        return st.tuples(self._quest(), st.sampled_from(self.users[:3]))

    def _free_pairs(self) -> st.SearchStrategy[Pair]:
        pairs = [(quest, user) for quest in self.world.quests for user in self.users[:3]]
        free = [pair for pair in pairs if pair not in self.world.participants]
        return st.sampled_from(free * 8) | self._pairs() if free else self._pairs()

    def _some(self, rows: dict[Any, Any]) -> st.SearchStrategy[list[Any]]:
        return st.lists(st.sampled_from(list(rows)), min_size=1, max_size=MOST_ROWS, unique=True)


def _shown(world: World) -> dict[str, Any]:
    """Return everything that later statements depend on: worlds that show the same stay the same."""
    # Of all quests together: who moves to another quest may be older there than who is there.
    by_age = sorted(
        world.participants, key=lambda pair: (world.participants[pair].joined, world.participants[pair].age)
    )
    participants = {pair: (rank, world.participants[pair].status) for rank, pair in enumerate(by_age, 1)}
    return {
        "quests": {identifier: (quest.status, quest.assignee) for identifier, quest in world.quests.items()},
        "applications": {identifier: (*row.pair, row.status) for identifier, row in world.applications.items()},
        "participants": participants,
    }


def machine(connection: psycopg.Connection[Any]) -> type[Histories]:
    """Return the state machine bound to a database."""
    connection.autocommit = True
    connection.execute("set jit = off; set plan_cache_mode = force_generic_plan; set enable_seqscan = off")
    users = sorted(factory.user(connection, id=uuid4()) for _ in range(4))
    bound: dict[str, Any] = {
        "connection": connection,
        "users": users,
        "category": factory.category(connection),
        "steps": 0,
    }
    return type("BoundHistories", (Histories,), bound)


def search(connection: psycopg.Connection[Any], examples: int, steps: int) -> int:
    """Run histories from the seed in the environment, or a new one; return how many steps they had."""
    number = int(os.environ.get(SEED_VARIABLE) or random.randrange(2**32))
    histories = machine(connection)
    try:
        run_state_machine_as_test(
            seed(number)(histories),
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                print_blob=True,
                report_multiple_bugs=False,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate, Phase.shrink],
            ),
        )
    except BaseException as error:
        error.add_note(f"repeat with {SEED_VARIABLE}={number}")
        raise
    return histories.steps


def test_worlds_show_who_is_older_on_another_quest() -> None:
    """Whoever moves there may become the earliest, so worlds that differ in it must not pass for the same."""
    ann, bob = uuid4(), uuid4()
    first, second = (Participant("joined", (1, 1), age) for age in (1, 2))
    assert _shown(World(participants={(1, ann): first, (2, bob): second})) != _shown(
        World(participants={(1, ann): second, (2, bob): first})
    )


def test_database_and_model_agree(migrated: psycopg.Connection[Any]) -> None:
    assert search(migrated, examples=100, steps=30) > 1000


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_database_and_model_agree_for_long(migrated: psycopg.Connection[Any]) -> None:
    steps = search(migrated, examples=500, steps=50)
    print(f"{steps} steps")
    assert steps >= 10_000


def test_model_expects_every_refusal_that_the_order_of_rows_allows() -> None:
    """One approval takes another's place, and a third row is wrong in itself: either may be met first."""
    user = uuid4()
    leaving, coming, wrong = (Application(1, user, status) for status in ("approved", "pending", "pending"))
    world = World(quests={1: Quest("open", None)}, applications={1: leaving, 2: coming, 3: wrong})
    rows = {1: replace(leaving, status="pending"), 2: replace(coming, status="approved")}
    with pytest.raises(Refused) as refused:
        world.write_applications({**rows, 3: replace(wrong, status="lost")})
    assert refused.value.refusals == {APPROVAL_KEY, ("23514", "integrity_application_status_known")}
    assert {after.meanwhile for after in world.write_applications({**rows})} == {frozenset({APPROVAL_KEY})}


def test_search_finds_what_is_broken_and_makes_it_small(
    migrated: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without this trigger a participant can be deleted while the application stays approved.
    migrated.execute("drop trigger integrity_ended_on_delete on public.quests_questparticipant")
    migrated.commit()
    monkeypatch.setenv(SEED_VARIABLE, "1")
    with pytest.raises((AssertionError, psycopg.Error)) as failure:
        search(migrated, examples=200, steps=8)
    notes = "\n".join(failure.value.__notes__)
    assert f"{SEED_VARIABLE}=1" in notes
    # Populated, approved, deleted, torn down: nothing else is needed.
    assert len(re.findall(r"^state\.", notes, re.MULTILINE)) <= 5, notes
