"""The app's own tests, as Django and pytest-django run them: every flow ends right in a test database too.

tests/runner/test_django_runner.py runs them; this suite's pytest does not collect them.
"""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import TestCase, TransactionTestCase

from tests.django_app.flows import FLOWS, Flow, QuestParticipant, World

AT_ONCE = 15


def run(flow: Flow) -> None:
    """Run a flow and compare the end; one that is refused ends there, where Django lets nothing follow."""
    world = World()
    if flow.refused_by is None:
        flow.run(world)
        assert world.state() == flow.expected, flow.name
        return
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        flow.run(world)
    assert refusal.value.__cause__.diag.constraint_name == flow.refused_by


def flows(*some: Flow) -> Callable[[Any], None]:
    def test(self: Any) -> None:
        for flow in some:
            run(flow)

    return test


class InTestCase(TestCase):
    """In a transaction that is rolled back."""


class InTransactionTestCase(TransactionTestCase):
    """Committed; then the tables are emptied."""

    def setUp(self) -> None:
        assert not QuestParticipant.objects.exists()


for case, some in ((InTestCase, FLOWS), (InTransactionTestCase, FLOWS)):
    for number in range(0, len(some), AT_ONCE):
        setattr(case, f"test_flows_{number}", flows(*some[number : number + AT_ONCE]))


def leave_a_violation() -> None:
    """Take a participant away behind the layer's back."""
    world = World()
    world.admit("ann")
    with connection.cursor() as cursor:
        cursor.execute("set session_replication_role = replica")
        cursor.execute("delete from quests_questparticipant")
        cursor.execute("reset session_replication_role")


class Leaves:
    """What leaves a violation, and what does not."""

    def test_leaves(self) -> None:
        leave_a_violation()

    def test_sound(self) -> None:
        World().admit("ann")


class LeavesInTestCase(Leaves, TestCase):
    """As a transaction that is rolled back."""


class LeavesInTransactionTestCase(Leaves, TransactionTestCase):
    """Committed."""
