"""`python -m benchmarks.peer_app URL`: add event tables and triggers to a database that has the app's tables.

A process of its own, because Django knows one set of settings per process.
"""

import contextlib
import io
import os
import sys

import django
from django.core.management import call_command
from django.db import connection


def main(url: str) -> None:
    """Install everything that the packages would install by their migrations."""
    os.environ |= {"DJANGO_SETTINGS_MODULE": "benchmarks.peer_app.settings", "DJANGO_APP_DATABASE_URL": url}
    django.setup()
    call_command("migrate", "pghistory", verbosity=0)
    with connection.schema_editor() as editor:
        for model in django.apps.apps.get_app_config("peer_app").get_models():
            editor.create_model(model)
    # It names each trigger on stderr, whatever the verbosity.
    with contextlib.redirect_stderr(io.StringIO()):
        call_command("pgtrigger", "install")


if __name__ == "__main__":
    main(sys.argv[1])
