"""A cluster for every test of this folder, on one server."""

from collections.abc import Iterator

import pytest

from checks import server
from tests.roles.cluster import OWNER, Cluster, Database
from tests.support.database import KEEP_MEMORY


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of who migrates and what is there, every run takes two of the four pairs, which have each of both."""
    for item in items:
        chosen = item.callspec.params if hasattr(item, "callspec") else {}
        started = chosen.get("database", chosen.get("begun"))
        if (chosen.get("creates_roles"), started) in {("plain", "empty"), ("createrole", "adopted")}:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def running() -> Iterator[server.Server]:
    with server.throwaway(environment=KEEP_MEMORY) as found:
        Cluster(found).admit()
        yield found


@pytest.fixture
def cluster(running: server.Server) -> Iterator[Cluster]:
    """A cluster with the app's two roles, in which nobody may create roles but the superuser."""
    found = Cluster(running)
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


@pytest.fixture(params=["empty", "adopted"])
def begun(request: pytest.FixtureRequest, cluster: Cluster) -> Database:
    """The same, migrated as far as no role of the layer is needed: the rest is what a test of the roles is about."""
    return cluster.begun(request.param == "adopted")


@pytest.fixture(params=["empty", "adopted"])
def plain(request: pytest.FixtureRequest, cluster: Cluster) -> Database:
    """The same, migrated to the end by `OWNER` without the right to create roles."""
    return cluster.begun(request.param == "adopted", revision="head")
