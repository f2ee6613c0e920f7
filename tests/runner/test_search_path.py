"""Nobody who may create functions in the app's schema can get between ours and PostgreSQL's."""

from typing import Any

import psycopg

from checks import migrate
from tests.support.database import target_of

# Each fits a call or comparison in our views and triggers better than what pg_catalog has.
BAIT = """
create function public.format(text, bigint, uuid) returns text language sql as 'select null::text';
create function public.format(text, bigint, uuid, text, bigint) returns text language sql as 'select null::text';
create function public.same(varchar, varchar) returns boolean language sql as 'select true';
create operator public.= (leftarg = varchar, rightarg = varchar, function = public.same);
create operator public.<> (leftarg = varchar, rightarg = varchar, function = public.same);
"""

TAKEN = """
select pg_describe_object(classid, objid, objsubid) as ours, pg_describe_object(refclassid, refobjid, 0) as theirs
from pg_depend
where (
    refclassid = 'pg_proc'::regclass
    and refobjid in (select oid from pg_proc where pronamespace = 'public'::regnamespace)
    or refclassid = 'pg_operator'::regclass
    and refobjid in (select oid from pg_operator where oprnamespace = 'public'::regnamespace)
  )
  and classid <> all (array['pg_proc'::regclass, 'pg_operator'::regclass])
"""

UNPINNED = """
select oid::regprocedure::text
from pg_proc
where
  pronamespace = 'integrity'::regnamespace
  and not coalesce(proconfig, '{}') @> '{"search_path=pg_catalog, pg_temp"}'
"""


def test_what_waits_in_the_apps_schema_is_not_taken(app_only: psycopg.Connection[Any]) -> None:
    app_only.execute(BAIT)
    app_only.commit()

    migrate.upgrade(target_of(app_only))

    assert app_only.execute(TAKEN).fetchall() == []


def test_every_function_pins_its_search_path(migrated: psycopg.Connection[Any]) -> None:
    found = [name for (name,) in migrated.execute(UNPINNED)]

    # It commits, which PostgreSQL allows only without a SET clause; it sets the path itself, in each transaction.
    assert found == ["integrity.backfill_markers(integer,double precision)"]
