"""The entry point: every command."""

from importlib import import_module

from checks.commands import app

__all__ = ["app", "main"]

for subject in (
    *("attachment", "audit", "enforcement", "events", "guards", "migration", "operations", "repairs", "rules"),
    *("server", "statuses"),
):
    import_module(f"checks.commands.{subject}")

main = app
