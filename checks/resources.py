"""Where the migrations and the SQL files are, in a clone and in an installed wheel."""

from pathlib import Path


def root() -> Path:
    """Return the folder that holds ``alembic.ini``, ``migrations/`` and ``sql/``."""
    package = Path(__file__).resolve().parent
    bundled = package / "_bundled"
    return bundled if bundled.is_dir() else package.parent
