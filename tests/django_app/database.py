"""Point Django at one database after another within one process."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import django
from django.apps import apps
from django.core.management import call_command
from django.db import connections

from tests.django_app.conninfo import database_entry

OWN_APPS = ("users", "quests", "applications")


def setup() -> None:
    """Load the project once per process; nothing connects to a database yet."""
    if not apps.ready:
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.django_app.settings"
        django.setup()


def configure(url: str) -> None:
    """Make `url` the database of everything this process does through Django from now on.

    Django keeps one connection wrapper per thread and never looks at its settings again, so the old one is
    closed and dropped: a wrapper that stays behind would hold the old database open and keep it undroppable.
    """
    setup()
    close()
    connections.settings = connections.configure_settings({"default": database_entry(url)})


def close() -> None:
    """Close this thread's connection and forget its wrapper."""
    connections["default"].close()
    del connections["default"]


@contextmanager
def use(url: str) -> Iterator[None]:
    """Run a block on the database `url`, leave no connection to it behind, and go back to the database before."""
    setup()
    before = connections.settings
    configure(url)
    try:
        yield
    finally:
        close()
        connections.settings = before


def create_app_tables(url: str) -> None:
    """Run Django's own `migrate`: on an empty database, the tables of a live PeerQuest."""
    with use(url):
        call_command("migrate", verbosity=0, interactive=False)


def create_missing_tables(url: str) -> None:
    """Create the app's tables that are not there yet, and record its migrations as applied.

    The integrity project creates only the tables it needs on an empty database. This adds the rest of the
    application around them, which `migrate --fake-initial` alone refuses: it wants all tables or none.
    """
    with use(url):
        connection = connections["default"]
        with connection.cursor() as cursor:
            present = set(connection.introspection.table_names(cursor))
        missing = [
            model
            for model in apps.get_models(include_auto_created=True)
            if model._meta.app_label in OWN_APPS and model._meta.db_table not in present
        ]
        # The user model refers to Django's groups and permissions.
        call_command("migrate", "auth", verbosity=0, interactive=False)
        with connection.schema_editor() as editor:
            for model in missing:
                # Creating a model creates the link tables of its many-to-many fields too.
                if model._meta.auto_created not in missing:
                    editor.create_model(model)
        call_command("migrate", fake_initial=True, verbosity=0, interactive=False)
