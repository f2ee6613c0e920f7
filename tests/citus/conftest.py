"""Databases on the cluster that QUEST_INTEGRITY_CITUS_URL names; the tests that need one are skipped without it."""

import os
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from checks import migrate
from tests.citus.cluster import VARIABLE, Cluster, given
from tests.support import plant


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """Return the cluster."""
    url = os.environ.get(VARIABLE)
    if not url:
        pytest.skip(f"{VARIABLE} names no coordinator of a Citus cluster")
    return given(url)


@pytest.fixture(scope="module")
def local(cluster: Cluster) -> Iterator[str]:
    """Yield a database with the app's tables, which are not distributed."""
    with cluster.database("integrity_local") as name:
        cluster.create_app_tables(name)
        yield name


@pytest.fixture(scope="session")
def attached(cluster: Cluster) -> Iterator[str]:
    """Yield a database that was distributed, then attached. Its tests share it and use quests of their own."""
    with cluster.attached("integrity_attached") as name:
        yield name


@pytest.fixture
def shared(cluster: Cluster, attached: str) -> Iterator[psycopg.Connection[Any]]:
    """Yield a session on the attached database, in autocommit mode."""
    with cluster.connect(attached) as connection:
        yield connection


@pytest.fixture(scope="module")
def dirty(cluster: Cluster) -> Iterator[tuple[str, list[plant.Planted]]]:
    """Yield a database that broke every rule when it was distributed, then attached, and what was planted in it."""
    with cluster.database("integrity_dirty") as name:
        cluster.create_app_tables(name)
        with cluster.target(name).connect() as connection:
            planted = plant.everything(connection)
            connection.commit()
        cluster.distribute(name)
        migrate.upgrade(cluster.target(name))
        yield name, planted
