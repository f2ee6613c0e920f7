"""libpq connection strings as Django wants them: the one place where the two notations meet."""

from typing import Any

from psycopg.conninfo import conninfo_to_dict

_DJANGO_KEYS = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}


def database_entry(conninfo: str) -> dict[str, Any]:
    """Return Django's `DATABASES` entry for a libpq connection string or URL."""
    entry: dict[str, Any] = {"ENGINE": "django.db.backends.postgresql", "OPTIONS": {}}
    for key, value in conninfo_to_dict(conninfo).items():
        if key in _DJANGO_KEYS:
            entry[_DJANGO_KEYS[key]] = str(value)
        else:
            entry["OPTIONS"][key] = value
    return entry
