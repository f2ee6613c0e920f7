"""Alembic migrations of the integrity layer."""
