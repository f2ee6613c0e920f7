"""The application's flows where everything is enforced that can be: which of them are refused, and by what."""

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError
from psycopg.conninfo import make_conninfo
from pytest_postgresql import factories
from pytest_postgresql.executors import NoopExecutor

from checks import migrate
from tests.django_app import database
from tests.django_app.flows import FLOWS, Flow, World
from tests.support.database import copied, url_of
from tests.support.programs import ROOT
from tests.support.templates import enforce, target_of_template

_Connection = psycopg.Connection[Any]


def _load(**where: Any) -> None:
    del where["autocommit"]
    database.create_app_tables(make_conninfo(**where))
    target = target_of_template(autocommit=False, **where)
    migrate.upgrade(target)
    with target.connect(autocommit=True) as connection:
        enforce(connection)


flows_enforced_server = factories.postgresql_noproc(dbname="django_enforced", load=[_load])


@pytest.fixture(scope="module")
def app(flows_enforced_server: NoopExecutor) -> Iterator[_Connection]:
    """Django on a database for all flows: each makes users and quests of its own."""
    with copied(flows_enforced_server, "shared") as connection:
        connection.autocommit = True
        with database.use(url_of(connection)):
            yield connection


# The page lists the refused flows by constraint.
LISTED = re.compile(r"^\| `(integrity_\w+)` \| ((?:`\w+`(?:, )?)+) \|", re.M)
REFUSED = {
    name: constraint
    for constraint, names in LISTED.findall((ROOT / "docs" / "errors.md").read_text())
    for name in re.findall(r"\w+", names)
}


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_flow_is_refused_or_ends_as_before(flow: Flow, app: _Connection) -> None:
    world = World()
    constraint = REFUSED.get(flow.name)
    if constraint is None:
        flow.run(world)
        assert world.state() == flow.expected
    else:
        with pytest.raises(IntegrityError) as refusal:
            flow.run(world)
        assert refusal.value.__cause__.diag.constraint_name == constraint
    assert (
        app.execute("select rule from integrity.violations where rule <> 'completed_quest_unfinished'").fetchall() == []
    )


def test_only_flows_are_listed() -> None:
    assert REFUSED.keys() <= {flow.name for flow in FLOWS}
