"""An upgrade that is stopped after any revision, for a day: every flow of the app still succeeds."""

from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, transaction

from checks import migrate
from checks.migrate import revisions
from tests.django_app import database
from tests.django_app.flows import FLOWS, Application, Quest, QuestParticipant, World
from tests.support.database import target_of, url_of
from tests.support.plant import PLACES
from tests.support.proof import enforce, places, repair
from tests.support.revisions import wrong_markers

_Connection = psycopg.Connection[Any]

RULES, MARKERS_FILLED, MECHANISM = "0002_rules", "0005_backfill", "0007_law"
MODELS = (Quest, Application, QuestParticipant)


def _reached(revision: str, other: str) -> bool:
    return revisions().index(revision) >= revisions().index(other)


def _refusal(error: IntegrityError) -> str | None:
    return error.__cause__.diag.constraint_name  # type: ignore[union-attr]


def _run_flows(attached: bool, without: str = "") -> None:
    for flow in FLOWS:
        if flow.name == without:
            continue
        world = World()
        refused_by = None
        try:
            flow.run(world)
        except IntegrityError as error:
            refused_by = _refusal(error)
        # The one thing that is new to the app: a second approval is refused.
        assert refused_by is None or (attached and refused_by == flow.refused_by), flow.name
        assert not attached or flow.refused_by or world.state() == flow.expected, flow.name


def _errors(connection: _Connection) -> set[tuple[Any, ...]]:
    found = connection.execute(f"{PLACES} where severity = 'error'")
    return set(found.fetchall())


def _save_every_row() -> None:
    """Save as the app does: whole rows, nothing changed."""
    for model in MODELS:
        for row in model.objects.order_by("pk"):
            row.save()


def _marked(revision: str) -> Any:
    # The others leave the app's tables alone, or nothing but validate them.
    changes_the_apps_tables = _reached(revision, "0004_markers") and not _reached(revision, "0009_validate")
    fast = changes_the_apps_tables or revision == revisions()[-1]
    return revision if fast else pytest.param(revision, marks=pytest.mark.slow)


@pytest.mark.parametrize("revision", [_marked(revision) for revision in revisions()])
def test_every_flow_succeeds(revision: str, attachable: _Connection) -> None:
    """Beside old rows that break every rule that the app's own key allows to break."""
    migrate.upgrade(target_of(attachable), revision)
    planted = places(attachable) if _reached(revision, RULES) else set()
    with database.use(url_of(attachable)):
        _save_every_row()
        _run_flows(attached=_reached(revision, MECHANISM))
    if _reached(revision, MARKERS_FILLED):
        assert wrong_markers(attachable) == {}
    if _reached(revision, MECHANISM):
        assert _errors(attachable) <= planted


def test_every_flow_succeeds_beside_duplicate_participants(dirty: _Connection) -> None:
    """They keep the foreign keys away; the mechanism works without."""
    migrate.upgrade(target_of(dirty))
    planted = places(dirty)
    with database.use(url_of(dirty)):
        _save_every_row()
        # An upsert that relies on the app's own key, which this database cannot have had.
        _run_flows(attached=True, without="participant_upserted_as_dropped")
    assert _errors(dirty) <= planted


@pytest.mark.slow
@pytest.mark.parametrize("revision", revisions())
def test_every_flow_succeeds_on_a_sound_database(revision: str, live: _Connection) -> None:
    migrate.upgrade(target_of(live), revision)
    with database.use(url_of(live)):
        _run_flows(attached=_reached(revision, MECHANISM))


def test_old_broken_row_saved_twice_in_a_transaction(attachable: _Connection) -> None:
    """PostgreSQL checks a foreign key again when a transaction updates its own version of a row.

    So until somebody repairs it, such a row is refused by the rule that it breaks, and by nothing else.
    """
    migrate.upgrade(target_of(attachable))
    refused: set[tuple[str, str | None]] = set()
    with database.use(url_of(attachable)):
        for model in MODELS:
            for row in model.objects.order_by("pk"):
                try:
                    with transaction.atomic():
                        row.save()
                        row.save()
                except IntegrityError as error:
                    refused.add((model.__name__, _refusal(error)))
        assert refused == {
            ("Quest", "integrity_assignee_is_participant"),
            ("Application", "integrity_approved_application_has_participant"),
        }
        repair(attachable)
        enforce(attachable)
        for model in MODELS:
            for row in model.objects.order_by("pk"):
                with transaction.atomic():
                    row.save()
                    row.save()
