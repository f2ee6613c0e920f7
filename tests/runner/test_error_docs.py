"""docs/errors.md, the handler made from it and the law name the same constraints."""

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.django_app import database

database.setup()

from tests.django_app.errors import REFUSALS  # noqa: E402

SECTION = re.compile(
    r"^## `(?P<name>\w+)`\n\n"
    r"- \*\*Kind:\*\* (?P<kind>.+); SQLSTATE (?P<state>\d{5})\n- \*\*Meaning:\*\* (?P<meaning>.+)\n"
    r"- \*\*Typical cause:\*\* (?P<cause>.+)\n- \*\*HTTP:\*\* (?P<http>\d{3})\n- \*\*Tell the user:\*\* (?P<tell>.+)\n",
    re.M,
)


def documented() -> dict[str, dict[str, str]]:
    """Return the sections by constraint, with lines that go on joined."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "errors.md").read_text().replace("\n  ", " ")
    found = {section["name"]: section.groupdict() for section in SECTION.finditer(text)}
    assert len(found) == len(re.findall(r"^## `", text, re.M)), "a section in another form"
    return found


@pytest.fixture(params=["created", "without the app's key"])
def law(request: pytest.FixtureRequest) -> psycopg.Connection[Any]:
    connection: psycopg.Connection[Any] = request.getfixturevalue("migrated" if request.param == "created" else "dirty")
    return connection


def test_every_constraint_of_the_law_is_documented_and_no_other(law: psycopg.Connection[Any]) -> None:
    names = {name for (name,) in law.execute("select name from integrity.law")}
    only_where_the_app_lacks_it = {"integrity_participant_key"}
    assert names | only_where_the_app_lacks_it == set(documented())


def test_as_what_kind_it_is(law: psycopg.Connection[Any]) -> None:
    states = {"foreign key": "23503", "unique": "23505", "unique index": "23505", "check": "23514"}
    found = documented()
    for name, kind, definition in law.execute("select name, kind, definition from integrity.law"):
        when = "at COMMIT" if "initially deferred" in definition else "at once"
        assert found[name]["kind"].lower() == f"{kind}, {when}".lower()
        assert found[name]["state"] == states[kind]


def test_the_handler_answers_what_is_documented() -> None:
    assert {name: (int(each["http"]), each["tell"]) for name, each in documented().items()} == REFUSALS
