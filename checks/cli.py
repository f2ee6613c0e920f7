"""The entry point: every command."""

from checks.commands import (
    app,
    attachment,
    audit,
    enforcement,
    events,
    guards,
    migration,
    operations,
    repairs,
    rules,
    server,
    statuses,
)

__all__ = [
    "app",
    "attachment",
    "audit",
    "enforcement",
    "events",
    "guards",
    "main",
    "migration",
    "operations",
    "repairs",
    "rules",
    "server",
    "statuses",
]

main = app
