"""For the suites of projects that use the layer: which violations do the tests leave?

`integrity_violations()` returns those in the test's database, to be asserted on. `--fail-on-integrity-violations`
audits after each test that uses `integrity_connection`, the fixture for that database: override it with your own, and
have every test use it by `usefixtures = integrity_connection` in the ini file. For Django's see `checks.django`.
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


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Watch only if asked to: a suite without the flag is not to notice that we are installed."""
    if config.pluginmanager.hasplugin("django"):
        from checks import django_fixtures

        if django_fixtures.wanted(config):
            config.pluginmanager.register(django_fixtures, "integrity_django")
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
        if watched and request.config.pluginmanager.hasplugin("integrity_django"):
            from checks import django_fixtures

            if django_fixtures.is_django_test(request.instance):
                request.instance.addCleanup(self._look, request.node, connection)
                yield
                return
        yield
        if watched:
            self._look(request.node, connection)

    def _look(self, test: pytest.Item, connection: Any) -> None:
        """Fail a test that has left violations."""
        from checks.errors import UserError
        from checks.suites import errors_left

        try:
            found = errors_left(connection)
        except UserError as error:
            pytest.fail(f"nothing was audited: {error}", pytrace=False)
        test.user_properties.append((PROPERTY, len(found)))
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
