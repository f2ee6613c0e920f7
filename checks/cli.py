"""The entry point: every command."""

from checks.commands import app, audit, migration, repairs, rules, server

__all__ = ["app", "audit", "main", "migration", "repairs", "rules", "server"]

main = app
