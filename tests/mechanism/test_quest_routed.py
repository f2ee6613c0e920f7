"""`checks.django.QuestRouted`: a save finds its row by the quest too, and does not write that, as Citus needs it."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from checks.django import QuestRouted
from tests.django_app import database
from tests.support import factory
from tests.support.database import url_of

database.setup()

from tests.django_app.applications.models import Application  # noqa: E402


@pytest.fixture
def routed(migrated: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    migrated.autocommit = True
    Application.__bases__ = (QuestRouted, *Application.__bases__)
    try:
        with database.use(url_of(migrated)):
            yield migrated
    finally:
        Application.__bases__ = Application.__bases__[1:]


def _application(session: psycopg.Connection[Any]) -> Application:
    quest_id, user_id = factory.quest(session), factory.user(session)
    found: Application = Application.objects.get(pk=factory.application(session, quest_id, user_id))
    return found


def test_a_save_names_the_quest_and_does_not_write_it(routed: psycopg.Connection[Any]) -> None:
    application = _application(routed)
    application.status = "rejected"

    with CaptureQueriesContext(connection) as queries:
        application.save()

    (update,) = [query["sql"] for query in queries if query["sql"].startswith("UPDATE")]
    written, _, where = update.partition(" WHERE ")
    assert '"quest_id"' not in written
    assert f'"quest_id" = {application.quest_id}' in where
    assert Application.objects.get(pk=application.pk).status == "rejected"


def test_a_row_does_not_move_to_another_quest(routed: psycopg.Connection[Any]) -> None:
    application = _application(routed)
    before = application.quest_id
    application.quest_id = factory.quest(routed)

    with pytest.raises(DatabaseError, match="cannot move to quest"):
        application.save()

    assert [each.quest_id for each in Application.objects.filter(pk=application.pk)] == [before]


def test_a_row_that_is_gone_is_inserted_as_ever(routed: psycopg.Connection[Any]) -> None:
    application = _application(routed)
    routed.execute("delete from applications_application where id = %s", [application.pk])

    application.save()

    assert Application.objects.filter(pk=application.pk, quest_id=application.quest_id).count() == 1
