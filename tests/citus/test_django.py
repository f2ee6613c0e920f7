"""The app's flows through Django on a distributed database, its models with `QuestRouted`."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.db import DatabaseError, IntegrityError
from psycopg.conninfo import make_conninfo

from checks import migrate
from checks.django import QuestRouted
from tests.citus.cluster import Cluster
from tests.django_app import database
from tests.django_app.flows import FLOWS, Flow, World

# These move a row to another quest, which no statement on Citus can.
MOVING = {"approved_application_moved_to_another_quest", "participant_moved_to_another_quest"}
SEQUENTIAL = "-c citus.multi_shard_modify_mode=sequential"


@pytest.fixture(scope="module")
def peerquest(cluster: Cluster) -> Iterator[str]:
    """Yield the URL of a database with all tables of the app, distributed and attached; its models are routed."""
    database.setup()
    models = [
        model
        for model in apps.get_models()
        if any(field.attname == "quest_id" for field in model._meta.concrete_fields)
    ]
    with cluster.database("integrity_django") as name:
        database.create_app_tables(make_conninfo(cluster.url, dbname=name))
        cluster.distribute(name)
        migrate.upgrade(cluster.target(name))
        for model in models:
            model.__bases__ = (QuestRouted, *model.__bases__)
        try:
            yield make_conninfo(cluster.url, dbname=name, options=SEQUENTIAL)
        finally:
            for model in models:
                model.__bases__ = model.__bases__[1:]


@pytest.fixture
def app(peerquest: str) -> Iterator[psycopg.Connection[Any]]:
    with database.use(peerquest), psycopg.connect(peerquest, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("flow", [flow for flow in FLOWS if flow.name not in MOVING], ids=lambda flow: flow.name)
def test_a_flow_ends_as_on_one_machine(flow: Flow, app: psycopg.Connection[Any]) -> None:
    world = World()

    if flow.refused_by is None:
        flow.run(world)
    else:
        with pytest.raises(IntegrityError, match=flow.refused_by):
            flow.run(world)

    assert world.state() == flow.expected
    errors = app.execute("select rule, message from integrity.violations where severity = 'error'").fetchall()
    assert errors == []


@pytest.mark.parametrize("flow", [flow for flow in FLOWS if flow.name in MOVING], ids=lambda flow: flow.name)
def test_no_row_moves_to_another_quest(flow: Flow, app: psycopg.Connection[Any]) -> None:
    with pytest.raises(DatabaseError):
        flow.run(World())


def test_there_are_two_of_these() -> None:
    assert {flow.name for flow in FLOWS} >= MOVING
