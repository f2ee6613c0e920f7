"""Where the migrations and the SQL files are, in a clone and in an installed wheel."""

import glob
from pathlib import Path


def root() -> Path:
    """Return the folder that holds ``alembic.ini``, ``migrations/`` and ``sql/``."""
    package = Path(__file__).resolve().parent
    bundled = package / "_bundled"
    return bundled if bundled.is_dir() else package.parent


def newest_sql(name: str) -> Path | None:
    """Return the newest file of an object of `sql/`, e.g. `guards/guard_status`; None if there is none."""
    folder, _, stem = name.rpartition("/")
    files = (root() / "sql" / folder).glob(f"{glob.escape(stem)}.v*.sql")
    # Not a variant for Citus, `….citus.sql`.
    shared = (file for file in files if len(file.suffixes) == 2)
    return max(shared, key=lambda file: (len(file.name), file.name), default=None)
