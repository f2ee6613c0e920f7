"""For the suites of projects that use the layer: which violations do the tests leave?

`integrity_violations()` returns those in the test's database, to be asserted on. `--fail-on-integrity-violations`
audits after each test that uses `integrity_connection`, the fixture for that database: override it with your own, and
have every test use it by `usefixtures = integrity_connection` in the ini file.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from checks.violations import Violation

FLAG = "--fail-on-integrity-violations"
PROPERTY = "integrity_violations"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag."""
    parser.getgroup("quest-integrity").addoption(
        FLAG,
        action="store_true",
        help="Fail every test that leaves violations of severity error in its integrity_connection.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Watch only if asked to: a suite without the flag is not to notice that we are installed."""
    if config.getoption(FLAG):
        config.pluginmanager.register(_Guard(), "integrity_guard")


@pytest.fixture
def integrity_connection() -> Iterator[Any]:
    """The database that the tests write to: a psycopg connection, or an SQLAlchemy connection or engine.

    This one is to what DATABASE_URL or libpq's variables name; it sees only what the tests have committed.
    """
    import os

    from checks import target

    if not any(os.environ.get(name) for name in ("DATABASE_URL", *target.LIBPQ_VARIABLES)):
        pytest.fail("override the fixture integrity_connection, or set DATABASE_URL", pytrace=False)
    with target.resolve(None).connect(autocommit=True) as connection:
        yield connection


@pytest.fixture
def integrity_violations(integrity_connection: Any) -> "Callable[[], tuple[Violation, ...]]":
    """A function that returns the violations in the test's database, as the test sees it by then."""
    import checks

    return lambda: checks.audit(integrity_connection).violations


class _Guard:
    """Audits what each test leaves, before its connection is closed or rolled back."""

    def __init__(self) -> None:
        self.ran = 0
        self.audited: dict[str, int] = {}

    @pytest.fixture(autouse=True)
    def _integrity_guard(self, request: pytest.FixtureRequest) -> Iterator[None]:
        watched = "integrity_connection" in request.fixturenames
        # Asked for before any other fixture of the test, so that it is there until after this one has ended.
        connection = request.getfixturevalue("integrity_connection") if watched else None
        yield
        if watched:
            found = _errors(connection)
            request.node.user_properties.append((PROPERTY, len(found)))
            if found:
                pytest.fail("violations left:\n" + "\n".join(found), pytrace=False)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember what was audited; under xdist this is where the workers' results arrive."""
        if report.when == "teardown":
            self.ran += 1
            if PROPERTY in (found := dict(report.user_properties)):
                self.audited[report.nodeid] = int(str(found[PROPERTY]))

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Fail a suite in which there was nothing to audit: the flag would promise what nobody checks."""
        if exitstatus == pytest.ExitCode.OK and self.ran and not self.audited:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say how many tests were audited, and which left violations."""
        terminalreporter.section("integrity violations")
        left = {test: number for test, number in self.audited.items() if number}
        for test, number in left.items():
            terminalreporter.line(f"{number} left by {test}")
        terminalreporter.line(f"{len(self.audited)} of {self.ran} tests audited, {len(left)} left violations")
        if self.ran and not self.audited:
            terminalreporter.line("no test uses the fixture integrity_connection, so nothing was audited")


def _errors(connection: Any) -> list[str]:
    import checks
    from checks.violations import FailedTransactionError

    try:
        found = checks.audit(connection).violations
    except FailedTransactionError:
        # All that is left to do with it is to roll it back.
        return []
    return [f"{each.message} [{each.key}]" for each in found if each.severity == "error"]
