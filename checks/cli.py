"""The entry point: every command."""

from checks.commands import app, audit, events, migration, operations, repairs, rules, server

__all__ = ["app", "audit", "events", "main", "migration", "operations", "repairs", "rules", "server"]

main = app
