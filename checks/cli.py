"""The entry point: every command."""

from checks.commands import app, audit, events, guards, migration, repairs, rules, server

__all__ = ["app", "audit", "events", "guards", "main", "migration", "repairs", "rules", "server"]

main = app
