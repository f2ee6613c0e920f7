"""`make quick` leaves out no part: what the catalog and the command line have is in the list, and the list is there."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import psycopg
import typer

from checks.cli import app
from tests import quick
from tests.support.programs import ROOT

# Of the event log's partitions the default one stands for all.
PARTS = """
select format('constraint %s on public.%s', law.name, law.relation) from integrity.law
union all
select format('trigger %s on %s.%s', trigger.tgname, schema.nspname, class.relname)
from pg_trigger as trigger
inner join pg_proc as called on trigger.tgfoid = called.oid
inner join pg_class as class on trigger.tgrelid = class.oid
inner join pg_namespace as schema on class.relnamespace = schema.oid
where called.pronamespace = 'integrity'::regnamespace and trigger.tgparentid = 0 and class.relname !~ '^event_2'
union all
select 'rule ' || rule from integrity.rule
union all
select 'repair ' || rule from integrity.rule
inner join pg_proc as repair on repair.proname = 'repair_' || rule and repair.pronamespace = 'integrity'::regnamespace
"""


def commands(typed: typer.Typer, before: str = "") -> Iterator[str]:
    """Yield each command as it is typed, also with each format that it can write."""
    for command in typed.registered_commands:
        assert command.callback is not None
        words = before + (command.name or command.callback.__name__)
        yield words
        for form in get_args(get_type_hints(command.callback).get("form")):
            yield f"{words} --format {form}"
    for group in typed.registered_groups:
        assert group.typer_instance is not None
        yield from commands(group.typer_instance, f"{before}{group.name} ")


def test_every_part_command_and_format_has_a_test(migrated: psycopg.Connection[Any]) -> None:
    parts = {part for (part,) in migrated.execute(PARTS)}
    wanted = parts | set(commands(app))
    assert quick.TESTS.keys() == wanted, "`make mutants` finds the tests of parts; commands are named in tests/quick.py"


def test_the_tests_are_there() -> None:
    modules = sorted({test.partition("::")[0] for test in quick.TESTS.values()})
    collect = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "-m", "quick", *modules]
    ran = subprocess.run(collect, cwd=ROOT, capture_output=True, text=True)
    assert {line for line in ran.stdout.splitlines() if "::" in line} == set(quick.TESTS.values()), ran.stderr
