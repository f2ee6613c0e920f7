"""plpgsql_check reads every function as PostgreSQL would run it; `make plpgsql-check` uses a server that offers it."""

from typing import Any

import psycopg
import pytest

# Its security warnings object to every %s in format(), also for text that was quoted before; pgspot looks at those.
FINDINGS = """
select distinct routine.oid::regprocedure::text, found.lineno, found.level, found.message
from pg_proc as routine
inner join pg_language as language on routine.prolang = language.oid and language.lanname = 'plpgsql'
left join pg_trigger as trigger on trigger.tgfoid = routine.oid and trigger.tgparentid = 0
cross join lateral plpgsql_check_function_tb(
  funcoid => routine.oid,
  relid => coalesce(trigger.tgrelid, 0),
  compatibility_warnings => true,
  extra_warnings => false,
  performance_warnings => false
) as found
where routine.pronamespace = 'integrity'::regnamespace
  and (trigger.oid is not null or routine.prorettype <> 'trigger'::regtype)
"""

CHECKED = """
select count(*) from pg_proc as routine
inner join pg_language as language on routine.prolang = language.oid and language.lanname = 'plpgsql'
where routine.pronamespace = 'integrity'::regnamespace
"""

UNTRUE = {
    # The function itself makes the table, by renaming another.
    ("integrity.prepare_event_partitions(integer)", 'relation "integrity.event_waiting" does not exist'),
    # They return before that where there is no Citus.
    ("integrity.is_distributed()", 'relation "pg_catalog.pg_dist_partition" does not exist'),
    ("integrity.distribution_mismatches(text)", 'relation "pg_dist_partition" does not exist'),
    ("integrity.node_damage()", "function run_command_on_all_nodes(text) does not exist"),
}


@pytest.fixture
def checked(migrated: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    offered = migrated.execute("select from pg_available_extensions where name = 'plpgsql_check'").fetchone()
    if offered is None:
        pytest.skip("this server has no extension plpgsql_check")
    migrated.execute("create extension plpgsql_check")
    return migrated


def _found(connection: psycopg.Connection[Any]) -> set[tuple[str, str]]:
    return {(function, message) for function, _, _, message in connection.execute(FINDINGS)}


def test_nothing_is_found(checked: psycopg.Connection[Any]) -> None:
    (number,) = checked.execute(CHECKED).fetchone() or (0,)
    assert number > 20
    assert _found(checked) == UNTRUE


def test_what_is_wrong_is_found(checked: psycopg.Connection[Any]) -> None:
    checked.execute(
        "create function integrity.wrong() returns integer language plpgsql as"
        " $$ begin return (select missing from integrity.law); end $$"
    )
    assert [function for function, _ in _found(checked) - UNTRUE] == ["integrity.wrong()"]
