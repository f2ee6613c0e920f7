"""docs/errors.md, the handler made from it and the law name the same constraints."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from tests.django_app import database

database.setup()

from tests.django_app.errors import REFUSALS, refused_by  # noqa: E402

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


@pytest.mark.parametrize(
    ("named", "said", "name"),
    [
        ("integrity_quest_marker", "whatever it says", "integrity_quest_marker"),
        (
            None,
            'new row for relation "quests_quest_102010" violates "integrity_quest_marker_102010"',
            "integrity_quest_marker",
        ),
        (
            None,
            'new row for relation "quests_quest" violates check constraint "integrity_quest_marker"',
            "integrity_quest_marker",
        ),
        (None, 'relation "quests_quest" does not exist', None),
    ],
)
def test_the_constraint_is_read_from_the_message_where_only_that_names_it(
    named: str | None, said: str, name: str | None
) -> None:
    error = SimpleNamespace(diag=SimpleNamespace(constraint_name=named, message_primary=said))

    assert refused_by(error) == name
