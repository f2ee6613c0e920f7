"""docs/roles.md does what it says, for an owner of the tables who may not create roles."""

from pathlib import Path

from tests.roles.cluster import DBA, OWNER, Cluster
from tests.runner.test_readme import run
from tests.support import plant


def test_roles(cluster: Cluster, tmp_path: Path) -> None:
    made = cluster.database()
    made.adopt()
    with made.session(OWNER) as connection, connection.transaction():
        plant.everything(connection)
    urls = {
        "DATABASE_URL": made.url(OWNER),
        "DBA_URL": made.url(DBA),
        "GRAFANA_URL": made.url("grafana"),
        "OLGA_URL": made.url("olga"),
    }
    assert run("docs/roles.md", urls, tmp_path) > 5
    assert cluster.roles() == set()
