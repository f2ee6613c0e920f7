"""`--format json|ndjson|csv` of every command but audit: docs/records.schema.json, and the three say the same."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from jsonschema import Draft202012Validator
from pytest_postgresql.executors import NoopExecutor

from tests.support.cli import run
from tests.support.database import copied

_Connection = psycopg.Connection[Any]
SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs" / "records.schema.json").read_text())

CALLS = {
    "rules": ["rules"],
    "explain_rule": ["explain", "unknown_status"],
    "explain_key": ["explain"],
    "repairs": ["repairs"],
    "events": ["events"],
    "history": ["history"],
    "history_detailed": ["history", "--detailed"],
    "statuses": ["statuses"],
    "guards": ["guards"],
}


@pytest.fixture(scope="module")
def lived(dirty_server: NoopExecutor) -> Iterator[_Connection]:
    """Yield a database with something to say to every command, which no test changes."""
    with copied(dirty_server, "records") as connection:
        run(connection, "audit", "--record")
        run(connection, "audit", "--fix-issues", "--yes", "--rule", "duplicate_approval")
        run(connection, "audit", "--record")
        yield connection


def arguments(connection: _Connection, name: str) -> list[str]:
    if name != "explain_key":
        return CALLS[name]
    row = connection.execute("select key from integrity.approved_without_participant order by key limit 1").fetchone()
    assert row is not None
    return ["explain", row[0]]


def test_the_schema_is_one_and_has_every_command() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["$defs"]) == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
def test_records_are_as_the_schema_says_in_every_format(name: str, lived: _Connection) -> None:
    call = arguments(lived, name)
    schema = {"$ref": f"{SCHEMA['$id']}#/$defs/{name}", "$defs": {"records": SCHEMA}}
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    ran = run(lived, *call, "--format", "json")
    records = json.loads(ran.out)
    assert ran.code == 0
    assert records != []
    assert [error.message for record in records for error in validator.iter_errors(record)] == []

    lines = [json.loads(line) for line in run(lived, *call, "--format", "ndjson").out.splitlines()]
    rows = list(csv.DictReader(io.StringIO(run(lived, *call, "--format", "csv").out)))
    if name == "explain_key":
        # Each rehearsal has a run, a time and ids of its own.
        for record in [*records, *lines, *rows]:
            del record["changes"]
    assert lines == records
    assert [list(row) for row in rows] == [list(record) for record in records]
    for row, record in zip(rows, records, strict=True):
        for column, value in record.items():
            found = json.loads(row[column]) if isinstance(value, dict | list) else row[column]
            assert found == ("" if value is None else value if isinstance(value, dict | list) else str(value))


@pytest.mark.parametrize("name", ["repairs", "events", "history", "guards"])
def test_nothing_is_an_empty_answer_and_a_note(name: str, migrated: _Connection) -> None:
    shown = {form: run(migrated, name, "--format", form) for form in ("table", "json", "ndjson", "csv")}
    assert {ran.code for ran in shown.values()} == {0}
    assert (shown["table"].out, shown["json"].out, shown["ndjson"].out) == ("", "[]\n", "")
    assert len(shown["csv"].out.splitlines()) == 1
    assert len(shown["table"].err.splitlines()) > 1


def test_a_table_of_events_has_fifty_and_says_of_how_many(lived: _Connection) -> None:
    lived.execute(
        "insert into integrity.event (kind, quest_id, before, after, actor, application_name)"
        " select 'undone', 1, '{\"quest_status\": \"open\"}', '{\"quest_status\": \"open\"}', 'a', 'b'"
        " from generate_series(1, 60)"
    )
    ran = run(lived, "events", "--quest", 1)
    assert len(ran.out.splitlines()) == 50
    assert "50 of 60 events" in ran.err
    # What stayed as it was is no change.
    assert "open" not in ran.out
    assert len(run(lived, "events", "--quest", 1, "--limit", 55).out.splitlines()) == 55
