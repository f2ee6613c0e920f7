"""What pytest-django needs to do as `checks.django.IntegrityRunner` does; the pytest plugin registers it.

Only in a project whose `TEST_RUNNER` is that runner. Fixtures here override those of plugins, a conftest's override
these.
"""

from typing import Any

import pytest


def wanted(config: pytest.Config) -> bool:
    """Return whether this is a project of pytest-django with our runner."""
    if not config.pluginmanager.hasplugin("django"):
        return False
    from django.conf import settings

    if not settings.configured:
        return False
    from django.test.utils import get_runner

    from checks.django import IntegrityRunner

    return issubclass(get_runner(settings), IntegrityRunner)


@pytest.fixture(scope="session")
def django_db_setup(request: pytest.FixtureRequest) -> None:
    """Create the test databases as pytest-django does, each with the layer."""
    from checks.django import attaching

    with attaching(request.config.get_verbosity() + 1):
        # The fixture that this one overrides.
        request.getfixturevalue("django_db_setup")


@pytest.fixture
def integrity_connection(db: None) -> Any:
    """The psycopg connection of Django's default database."""
    from django.db import connection

    connection.ensure_connection()
    return connection.connection


def is_django_test(instance: object) -> bool:
    """Return whether this is a test of a TestCase of Django's, which rolls back by itself before fixtures end."""
    import sys

    django_test = sys.modules.get("django.test")
    return django_test is not None and isinstance(instance, django_test.TransactionTestCase)
