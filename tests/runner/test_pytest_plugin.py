"""The pytest plugin, as suites of other projects use it: each test here runs such a suite."""

import subprocess
import sys
from typing import Any

import psycopg
import pytest

from checks import attachment, ddl
from tests.support.database import another, url_of
from tests.support.proof import repair

pytest_plugins = ["pytester"]

_Connection = psycopg.Connection[Any]
FLAG = "--fail-on-integrity-violations"

OVERRIDE = """
import psycopg, pytest

@pytest.fixture
def database():
    with psycopg.connect({url!r}) as connection:
        yield connection
        connection.rollback()

@pytest.fixture
def integrity_connection(database):
    return database
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, repaired: _Connection) -> pytest.Pytester:
    """A project with a database fixture of its own, rolled back after each test."""
    pytester.makeconftest(OVERRIDE.format(url=url_of(repaired)))
    return pytester


@pytest.fixture
def repaired(sync_001: _Connection) -> _Connection:
    """The incident's database after its repair: nothing is wrong in it."""
    repair(sync_001)
    assert sync_001.execute("select from integrity.violations where severity = 'error'").fetchall() == []
    sync_001.commit()
    return sync_001


def run(suite: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    # Nothing of this suite's own options, plugins and settings of Django, and no fixture of pytest-postgresql.
    return suite.runpytest_subprocess("-p", "no:postgresql", "-p", "no:hypothesispytest", "-p", "no:django", *arguments)


BREAKS = """
def break_it(connection):
    connection.execute("select set_config('session_replication_role', 'replica', true)")
    connection.execute("delete from quests_questparticipant where quest_id = 17")
"""


class TestFixture:
    def test_is_what_is_wrong_by_then(self, suite: pytest.Pytester) -> None:
        suite.makepyfile(
            BREAKS
            + """
def test_both(database, integrity_violations):
    assert integrity_violations() == ()
    break_it(database)
    assert {violation.rule for violation in integrity_violations()} == {
        "approved_without_participant", "assignee_not_participant", "in_progress_without_participant"
    }
"""
        )
        run(suite).assert_outcomes(passed=1)

    def test_uses_database_url_where_nothing_is_overridden(
        self, pytester: pytest.Pytester, dirty: _Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dirty.commit()
        monkeypatch.setenv("DATABASE_URL", url_of(dirty))
        pytester.makepyfile("def test_it(integrity_violations): assert len(integrity_violations()) > 10")
        run(pytester).assert_outcomes(passed=1)

    def test_starts_no_server_where_nothing_is_named(self, pytester: pytest.Pytester) -> None:
        pytester.makepyfile("def test_it(integrity_violations): pass")
        result = run(pytester)
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines(["*override the fixture integrity_connection*"])

    @pytest.mark.parametrize("kind", ["engine", "connection"])
    def test_takes_sqlalchemy(self, pytester: pytest.Pytester, repaired: _Connection, kind: str) -> None:
        url = url_of(repaired).replace("postgresql://", "postgresql+psycopg://")
        given = "engine" if kind == "engine" else "engine.connect()"
        pytester.makeconftest(
            f"import pytest, sqlalchemy\nengine = sqlalchemy.create_engine({url!r})\n"
            f"@pytest.fixture\ndef integrity_connection():\n    return {given}\n"
        )
        pytester.makepyfile("def test_it(integrity_violations): assert integrity_violations() == ()")
        run(pytester, FLAG).assert_outcomes(passed=1)


class TestFlag:
    SUITE = (
        BREAKS
        + """
def test_breaks(database, integrity_connection):
    break_it(database)

def test_sound(integrity_connection):
    pass

def test_elsewhere():
    pass
"""
    )

    def test_fails_the_test_that_leaves_violations(self, suite: pytest.Pytester) -> None:
        suite.makepyfile(self.SUITE)
        result = run(suite, FLAG)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.assert_outcomes(passed=3, errors=1)
        result.stdout.fnmatch_lines(
            [
                "*approved_without_participant:application=*",
                "*integrity violations*",
                "3 left by *::test_breaks",
                "2 of 3 tests audited, 1 left violations",
            ]
        )

    def test_under_xdist(self, suite: pytest.Pytester) -> None:
        suite.makepyfile(self.SUITE)
        result = run(suite, FLAG, "-n", "2")
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(["3 left by *::test_breaks", "2 of 3 tests audited, 1 left violations"])

    def test_passes_a_suite_that_leaves_none(self, suite: pytest.Pytester) -> None:
        suite.makepyfile("def test_sound(integrity_connection): pass")
        result = run(suite, FLAG)
        assert result.ret == pytest.ExitCode.OK
        result.stdout.fnmatch_lines(["1 of 1 tests audited, 0 left violations"])

    def test_without_it_nothing_is_audited(self, suite: pytest.Pytester) -> None:
        suite.makepyfile(self.SUITE)
        result = run(suite)
        assert result.ret == pytest.ExitCode.OK
        result.stdout.no_fnmatch_line("*integrity violations*")

    def test_every_test_by_the_ini_file(self, suite: pytest.Pytester) -> None:
        suite.makeini("[pytest]\nusefixtures = integrity_connection\n")
        suite.makepyfile(BREAKS + "def test_breaks(database): break_it(database)")
        result = run(suite, FLAG)
        result.assert_outcomes(passed=1, errors=1)

    def test_warnings_are_no_failure(self, suite: pytest.Pytester) -> None:
        suite.makepyfile(
            """
def test_joins_directly(database, integrity_connection, integrity_violations):
    database.execute("update applications_application set status = 'pending' where quest_id = 17")
    database.execute("update quests_questparticipant set status = 'joined' where quest_id = 17")
    assert [violation.severity for violation in integrity_violations()] == ["warning"]
"""
        )
        run(suite, FLAG).assert_outcomes(passed=1)

    def test_a_transaction_that_failed_leaves_nothing(self, suite: pytest.Pytester) -> None:
        suite.makepyfile(
            "import psycopg, pytest\n"
            + BREAKS
            + """
def test_refused(database, integrity_connection):
    break_it(database)
    with pytest.raises(psycopg.errors.SyntaxError):
        database.execute("selekt")
"""
        )
        run(suite, FLAG).assert_outcomes(passed=1)

    def test_says_that_the_layer_is_detached(self, suite: pytest.Pytester, repaired: _Connection) -> None:
        with another(repaired, autocommit=True) as owner:
            attachment.detach(owner, ddl.LockPolicy())
        suite.makepyfile(
            "def test_sound(integrity_connection): pass\ndef test_both(integrity_violations): integrity_violations()"
        )
        ran = run(suite, FLAG)
        # The second in its call, too.
        ran.assert_outcomes(passed=1, failed=1, errors=2)
        ran.stdout.fnmatch_lines(["*nothing was audited: the layer is detached since *`quest-integrity attach`*"])
        ran.stdout.fnmatch_lines(["*DetachedError: the layer is detached since *`quest-integrity attach`*"])

    def test_fails_a_suite_in_which_it_audits_nothing(self, pytester: pytest.Pytester) -> None:
        pytester.makepyfile("def test_elsewhere(): pass")
        result = run(pytester, FLAG)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        result.stdout.fnmatch_lines(["*nothing was audited"])

    def test_without_tests_there_is_nothing_to_say(self, pytester: pytest.Pytester) -> None:
        pytester.makepyfile("")
        assert run(pytester, FLAG).ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_suite_that_does_not_use_it_imports_nothing() -> None:
    heavy = ("psycopg", "sqlalchemy", "alembic", "rich", "typer", "tenacity")
    program = (
        "import sys, checks.pytest_plugin;"
        f"print(sorted(name for name in {heavy} if name in sys.modules), 'checks.server' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "[] False\n"


def test_no_fixture_of_it_runs_in_a_suite_that_does_not_use_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_elsewhere(): pass")
    result = run(pytester, "--setup-plan")
    result.stdout.no_fnmatch_line("*integrity_*")
