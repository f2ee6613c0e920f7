-- What is true when a migration runs a file of sql/ (migrations/env.py, migrations/sql_objects.py): the schema is
-- ours, and names without one are looked for in pg_catalog only. `make lint` puts it before them.
create schema integrity;
set search_path = pg_catalog, pg_temp;
