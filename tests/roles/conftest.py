"""A cluster for every test of this folder, on one server."""

from collections.abc import Iterator

import pytest

from checks import server
from tests.roles.cluster import APP, OWNER, Cluster, Database


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of who migrates and what is there, every run takes two of the four pairs, which have each of both."""
    for item in items:
        chosen = item.callspec.params if hasattr(item, "callspec") else {}
        if (chosen.get("creates_roles"), chosen.get("database")) in {("plain", "empty"), ("createrole", "adopted")}:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def running() -> Iterator[server.Server]:
    with server.throwaway() as found:
        yield found


@pytest.fixture
def cluster(running: server.Server) -> Iterator[Cluster]:
    """A cluster in which nobody may create roles but the superuser."""
    yield from cleaned(running)


def cleaned(running: server.Server) -> Iterator[Cluster]:
    """Yield a cluster with the app's two roles, and drop what became of it."""
    found = Cluster(running)
    found.clean()
    found.run(f"create role {OWNER} login")
    found.run(f"create role {APP} login")
    yield found
    found.clean()


@pytest.fixture(params=["createrole", "plain"])
def creates_roles(request: pytest.FixtureRequest, cluster: Cluster) -> bool:
    """Whether the owner of the tables, who migrates, may create roles."""
    if request.param == "createrole":
        cluster.run(f"alter role {OWNER} createrole")
    return bool(request.param == "createrole")


@pytest.fixture(params=["empty", "adopted"])
def database(request: pytest.FixtureRequest, cluster: Cluster) -> Database:
    """A database to migrate: without a table, or with those of a live app."""
    made = cluster.database()
    if request.param == "adopted":
        made.adopt()
    return made
