"""The machine formats: each by the schema or the reader that it is meant for, also with awkward values."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import junitparser
import psycopg
import pytest
from jsonschema import Draft202012Validator
from lxml import etree
from referencing import Registry, Resource

from checks import formats, records
from checks.violations import Violation
from tests.support import factory
from tests.support.cli import run
from tests.support.database import url_of
from tests.support.proof import attach

_Connection = psycopg.Connection[Any]
ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs" / "audit.schema.json").read_text())
REGISTRY = Registry().with_resource(SCHEMA["$id"], Resource.from_contents(SCHEMA))
LINE = {"$ref": f"{SCHEMA['$id']}#/$defs/line"}
FORMATS = sorted(formats.FORMATS)
AWKWARD = 'a\b<&"%\r\n::,\u20ac'

FIX = ("--fix-issues", "--yes", "--missing-participant", "create")
CALLS = [
    (),
    ("--rule", "unknown_status"),
    ("--fail-on", "warning"),
    (*FIX, "--dry-run"),
    FIX,
    (*FIX, "--limit", "1"),
    (*FIX, "--rule", "duplicate_pending"),
]
every_call = pytest.mark.parametrize("call", CALLS, ids=lambda call: " ".join(call) or "plain")


@pytest.fixture
def awkward(unattached: _Connection) -> _Connection:
    """A database whose one violation has everything in it that some format must escape."""
    factory.quest(unattached, status=AWKWARD)
    attach(unattached)
    return unattached


def complaints(value: object, schema: dict[str, Any]) -> list[str]:
    validator = Draft202012Validator(schema, registry=REGISTRY, format_checker=Draft202012Validator.FORMAT_CHECKER)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


class TestJson:
    def test_the_schema_is_one(self) -> None:
        Draft202012Validator.check_schema(SCHEMA)
        assert SCHEMA["properties"]["schema_version"] == {"const": formats.SCHEMA_VERSION}

    @every_call
    def test_a_document(self, dirty: _Connection, call: tuple[str, ...]) -> None:
        document = json.loads(run(dirty, "audit", "--format", "json", *call).out)
        assert complaints(document, SCHEMA) == []
        assert ("repair" in document) == ("--fix-issues" in call)
        assert bool(document["changes"]) == ("--fix-issues" in call and "duplicate_pending" not in call)

    @every_call
    def test_every_line(self, dirty: _Connection, call: tuple[str, ...]) -> None:
        lines = [json.loads(line) for line in run(dirty, "audit", "--format", "ndjson", *call).out.splitlines()]
        assert [problem for line in lines for problem in complaints(line, LINE)] == []
        kinds = [line["type"] for line in lines]
        assert kinds == sorted(kinds, key=["audit", "change", "violation"].index)
        assert kinds.count("audit") == 1

    def test_both_say_the_same(self, dirty: _Connection) -> None:
        call = ("--fix-issues", "--dry-run", "--missing-participant", "create")
        document = json.loads(run(dirty, "audit", "--format", "json", *call).out)
        header, *items = map(json.loads, run(dirty, "audit", "--format", "ndjson", *call).out.splitlines())
        for kind, name in (("change", "changes"), ("violation", "violations")):
            found = [{k: v for k, v in item.items() if k != "type"} for item in items if item["type"] == kind]
            assert len(found) == len(document[name]) > 0
        assert [item["key"] for item in items if item["type"] == "violation"] == [
            violation["key"] for violation in document["violations"]
        ]
        assert header["rules"] == document["rules"]

    def test_counts_are_of_the_violations_listed(self, dirty: _Connection) -> None:
        document = json.loads(run(dirty, "audit", "--format", "json").out)
        for rule in document["rules"]:
            listed = [each for each in document["violations"] if each["rule"] == rule["rule"]]
            assert len(listed) == rule["violations"]
            assert sum(each["repair"] is not None for each in listed) == rule["repairable"]

    def test_a_clean_database(self, migrated: _Connection) -> None:
        document = json.loads(run(migrated, "audit", "--format", "json").out)
        assert complaints(document, SCHEMA) == []
        assert (document["passes"], document["violations"]) == (True, [])

    def test_what_is_not_in_the_schema_would_be_noticed(self, migrated: _Connection) -> None:
        document = json.loads(run(migrated, "audit", "--format", "json").out)
        assert complaints(document | {"extra": 1}, SCHEMA)
        assert complaints(document | {"at": "yesterday"}, SCHEMA)
        assert complaints({name: value for name, value in document.items() if name != "totals"}, SCHEMA)
        assert complaints({"type": "violation", "rule": "x"}, LINE)

    def test_awkward_values(self, awkward: _Connection) -> None:
        (violation,) = json.loads(run(awkward, "audit", "--format", "json").out)["violations"]
        assert violation["found"] == {"status": AWKWARD}


class TestCsv:
    @pytest.mark.parametrize("state", ["dirty", "awkward", "migrated"])
    def test_round_trip(self, state: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
        connection = request.getfixturevalue(state)
        expected = json.loads(run(connection, "audit", "--format", "json").out)["violations"]
        run(connection, "audit", "--format", "csv", "--output", tmp_path / "audit.csv")
        with (tmp_path / "audit.csv").open(encoding="utf-8", newline="") as text:
            found = list(csv.DictReader(text))
        assert len(found) == len(expected)
        for row, violation in zip(found, expected, strict=True):
            for name, value in violation.items():
                if isinstance(value, dict):
                    assert json.loads(row[name]) == value
                else:
                    assert row[name] == ("" if value is None else str(value))

    def test_loads_into_postgresql(self, dirty: _Connection) -> None:
        text = run(dirty, "audit", "--format", "csv").out
        dirty.execute("create temporary table loaded (like integrity.violations)")
        columns = ", ".join(records.columns(Violation))
        with dirty.cursor().copy(f"copy loaded ({columns}) from stdin (format csv, header)".encode()) as copy:
            copy.write(text)
        row = dirty.execute(
            "select count(*) from loaded inner join integrity.violations using (key, found, expected, message)"
        ).fetchone()
        assert row == dirty.execute("select count(*) from integrity.violations").fetchone()


class TestJunit:
    VIEWER = etree.XMLSchema(etree.parse(ROOT / "tests" / "support" / "junit.xsd"))

    @pytest.mark.parametrize("state", ["dirty", "awkward", "migrated"])
    @pytest.mark.parametrize("fail_on", ["error", "warning", "never"])
    def test_is_what_a_viewer_reads(self, state: str, fail_on: str, request: pytest.FixtureRequest) -> None:
        connection: _Connection = request.getfixturevalue(state)
        text = run(connection, "audit", "--format", "junit", "--fail-on", fail_on).out
        self.VIEWER.assertValid(etree.fromstring(text.encode()))

        (suite,) = junitparser.JUnitXml.fromstring(text.encode())
        cases = list(suite)
        failures = [case for case in cases if any(isinstance(each, junitparser.Failure) for each in case.result)]
        skipped = [case for case in cases if any(isinstance(each, junitparser.Skipped) for each in case.result)]
        assert (suite.tests, suite.failures, suite.skipped) == (len(cases), len(failures), len(skipped))

        severities = dict(connection.execute("select key, severity from integrity.violations").fetchall())
        failing = {"error": {"error"}, "warning": {"error", "warning"}, "never": set()}[fail_on]
        assert {case.name for case in failures} == {key for key, severity in severities.items() if severity in failing}
        assert {case.name for case in skipped} == {
            key for key, severity in severities.items() if severity not in failing
        }
        rules = {rule for (rule,) in connection.execute("select rule from integrity.rule where severity <> 'off'")}
        assert {case.classname for case in cases} == rules

    def test_awkward_values(self, awkward: _Connection) -> None:
        """XML has no place for a control character; everything else comes through."""
        (suite,) = junitparser.JUnitXml.fromstring(run(awkward, "audit", "--format", "junit").out.encode())
        (failure,) = (case.result[0] for case in suite if case.result)
        assert 'a\ufffd<&"%' in failure.message
        assert "\u20ac" in failure.message

    def test_a_viewer_would_refuse_others(self) -> None:
        assert not self.VIEWER.validate(
            etree.fromstring("<testsuite name='x' tests='1' failures='0' errors='0' id='1'/>")
        )
        assert not self.VIEWER.validate(etree.fromstring("<testsuite name='x'/>"))


class TestGithub:
    COMMAND = re.compile(
        r"::(?P<severity>error|warning) (file=(?P<file>[^,:]+),line=(?P<line>\d+),)?"
        r"title=(?P<title>[^,:]+)::(?P<text>.*)"
    )

    def annotations(self, connection: _Connection) -> list[dict[str, Any]]:
        lines = run(connection, "audit", "--format", "github").out.split("\n")
        assert lines.pop() == ""
        found = [self.COMMAND.fullmatch(line) for line in lines]
        assert None not in found
        return [each.groupdict() for each in found if each]

    def test_point_at_the_file_that_defines_the_rule(self, dirty: _Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GITHUB_WORKSPACE", str(ROOT))
        formats._source.cache_clear()
        found = self.annotations(dirty)
        assert len(found) == dirty.execute("select count(*) from integrity.violations").fetchone()[0]  # type: ignore[index]
        for each in found:
            source = (ROOT / each["file"]).read_text().splitlines()
            assert f"integrity.{each['title']} as" in source[int(each["line"]) - 1]

    def test_of_a_project_that_only_installed_us_name_no_file(
        self, dirty: _Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
        formats._source.cache_clear()
        assert {each["file"] for each in self.annotations(dirty)} == {None}
        formats._source.cache_clear()

    def test_awkward_values(self, awkward: _Connection) -> None:
        (found,) = self.annotations(awkward)
        assert "%0D%0A::," in found["text"]
        assert "%25" in found["text"]
        assert "\u20ac" in found["text"]


def violations_by_the(number: int, connection: _Connection) -> None:
    connection.execute(
        "create view integrity.one_of_many as select 'one_of_many'::text as rule, 'error'::text as severity,"
        " number::bigint as quest_id, md5(number::text)::uuid as user_id, number::bigint as application_id,"
        " number::bigint as participant_id,"
        " format('application %s is approved, but user %s has no participant', number, md5(number::text)) as message,"
        " jsonb_build_object('participant_status', 'joined') as expected,"
        " jsonb_build_object('participant_status', null) as found, 'create_participant'::text as repair,"
        f" 'one_of_many:application=' || number as key from generate_series(1, {number}) as number"
    )
    connection.execute("select integrity.add_rule('one_of_many', 'error', 'many', 'There are many.')")
    connection.commit()


MEASURE = """
import resource, sys
from checks.cli import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def peak(connection: _Connection, form: str, output: Path, *arguments: str) -> tuple[float, float]:
    """Return the peak memory of an audit, and the size of its output, in megabytes."""
    audit = ["--database-url", url_of(connection), "audit", "--format", form, "--output", output]
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, *audit, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode in (0, 1), ran.stderr
    return int(ran.stderr.splitlines()[-1]) / 1024, output.stat().st_size / 1e6


@pytest.mark.parametrize("form", ["json", "junit", "table"])
def test_memory_does_not_grow_with_the_violations(migrated: _Connection, form: str, tmp_path: Path) -> None:
    violations_by_the(50_000, migrated)
    few, _ = peak(migrated, form, tmp_path / "few", "--detailed", "--rule", "unknown_status")
    many, size = peak(migrated, form, tmp_path / "many", "--detailed", "--rule", "one_of_many")
    assert size > 5
    assert many - few < 30


def test_memory_does_not_grow_with_what_a_repair_changes(unattached: _Connection, tmp_path: Path) -> None:
    """A change holds the whole row, before and after."""
    with unattached.transaction():
        quest_id, user_id = factory.quest(unattached), factory.user(unattached)
        unattached.execute(
            "insert into quests_quest (title, description, difficulty, status, xp_reward, gold_reward, commission_fee,"
            " created_at, updated_at, requirements, resources, slug, is_deleted, category_id, creator_id)"
            " select title, repeat('wide ', 4000), difficulty, status, xp_reward, gold_reward, commission_fee,"
            " created_at, updated_at, requirements, resources, 'wide' || number, is_deleted, category_id, creator_id"
            " from quests_quest cross join generate_series(1, 700) as number where id = %s",
            [quest_id],
        )
        unattached.execute(
            "insert into quests_questparticipant (quest_id, user_id, status, joined_at, progress_notes)"
            " select id, %s, 'joined', now(), '' from quests_quest",
            [user_id],
        )
    attach(unattached)
    few, _ = peak(
        unattached,
        "ndjson",
        tmp_path / "few",
        "--fix-issues",
        "--dry-run",
        "--missing-participant",
        "create",
        "--limit",
        "3",
    )
    shown, size = peak(
        unattached, "ndjson", tmp_path / "shown", "--fix-issues", "--dry-run", "--missing-participant", "create"
    )
    assert size > 25
    done, _ = peak(unattached, "table", tmp_path / "done", "--fix-issues", "--yes", "--missing-participant", "create")
    assert max(shown, done) - few < 10


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("form", FORMATS)
def test_a_million_violations(migrated: _Connection, form: str, tmp_path: Path) -> None:
    """The figures that docs/formats.md states come from here: run with -s."""
    violations_by_the(1_000_000, migrated)
    few, _ = peak(migrated, form, tmp_path / "few", "--detailed", "--rule", "unknown_status")
    many, size = peak(migrated, form, tmp_path / "many", "--detailed", "--rule", "one_of_many")
    print(f"{form}: {size:.0f} MB written, peak {many:.0f} MB, {many - few:+.0f} MB over an audit that finds nothing")
    assert many - few < 60
