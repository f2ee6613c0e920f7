"""The entry point: every command."""

from checks.commands import app, audit, events, migration, repairs, rules, server

__all__ = ["app", "audit", "events", "main", "migration", "repairs", "rules", "server"]

main = app
