"""Every kind of statement that can insert, update or delete rows: what the mechanism does must not depend on it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg
import pytest
from psycopg import sql

_Connection = psycopg.Connection[Any]
Row = Mapping[str, Any]

Insert = Callable[[_Connection, str, Sequence[Row]], None]
Update = Callable[[_Connection, str, Sequence[int], Row], None]
Delete = Callable[[_Connection, str, Sequence[int]], None]


def _names(columns: Row) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _values(columns: Row) -> sql.Composed:
    return sql.SQL(", ").join(sql.Placeholder() * len(columns))


def _settings(columns: Row) -> sql.Composed:
    return sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in columns)


def _all_values(rows: Sequence[Row]) -> list[Any]:
    return [value for row in rows for value in row.values()]


def _source(connection: _Connection, table: str, rows: Sequence[Row]) -> None:
    """Create a temporary table, typed like the real one, that holds the rows to come."""
    connection.execute(
        sql.SQL("create temporary table source on commit drop as select {} from {} with no data").format(
            _names(rows[0]), sql.Identifier(table)
        )
    )
    insert_many(connection, "source", rows)


def _require_merge(connection: _Connection) -> None:
    if connection.info.server_version < 150000:
        pytest.skip("MERGE came with PostgreSQL 15")


# Inserts. All rows name the same columns.


def insert_one_by_one(connection: _Connection, table: str, rows: Sequence[Row]) -> None:
    for row in rows:
        insert_many(connection, table, [row])


def insert_many(connection: _Connection, table: str, rows: Sequence[Row]) -> None:
    values = sql.SQL(", ").join(sql.SQL("({})").format(_values(row)) for row in rows)
    connection.execute(
        sql.SQL("insert into {} ({}) values {}").format(sql.Identifier(table), _names(rows[0]), values),
        _all_values(rows),
    )


def insert_select(connection: _Connection, table: str, rows: Sequence[Row]) -> None:
    _source(connection, table, rows)
    connection.execute(
        sql.SQL("insert into {} ({names}) select {names} from source").format(
            sql.Identifier(table), names=_names(rows[0])
        )
    )


def insert_returning_in_cte(connection: _Connection, table: str, rows: Sequence[Row]) -> None:
    values = sql.SQL(", ").join(sql.SQL("({})").format(_values(row)) for row in rows)
    connection.execute(
        sql.SQL("with new as (insert into {} ({}) values {} returning id) select count(*) from new").format(
            sql.Identifier(table), _names(rows[0]), values
        ),
        _all_values(rows),
    )


def insert_on_conflict_do_nothing(connection: _Connection, table: str, rows: Sequence[Row]) -> None:
    values = sql.SQL(", ").join(sql.SQL("({})").format(_values(row)) for row in rows)
    connection.execute(
        sql.SQL("insert into {} ({}) values {} on conflict (id) do nothing").format(
            sql.Identifier(table), _names(rows[0]), values
        ),
        _all_values(rows),
    )


def insert_on_conflict_do_update(connection: _Connection, table: str, rows: Sequence[Row]) -> None:
    values = sql.SQL(", ").join(sql.SQL("({})").format(_values(row)) for row in rows)
    connection.execute(
        sql.SQL("insert into {} ({}) values {} on conflict (id) do update set status = excluded.status").format(
            sql.Identifier(table), _names(rows[0]), values
        ),
        _all_values(rows),
    )


def copy(connection: _Connection, table: str, rows: Sequence[Row]) -> None:
    statement = sql.SQL("copy {} ({}) from stdin").format(sql.Identifier(table), _names(rows[0]))
    with connection.cursor().copy(statement) as stream:
        for row in rows:
            stream.write_row(list(row.values()))


def merge_insert(connection: _Connection, table: str, rows: Sequence[Row]) -> None:
    _require_merge(connection)
    _source(connection, table, rows)
    connection.execute(
        sql.SQL("merge into {} as target using source on false when not matched then insert ({}) values ({})").format(
            sql.Identifier(table),
            _names(rows[0]),
            sql.SQL(", ").join(sql.Identifier("source", name) for name in rows[0]),
        )
    )


INSERTS: tuple[Insert, ...] = (
    insert_one_by_one,
    insert_many,
    insert_select,
    insert_returning_in_cte,
    insert_on_conflict_do_nothing,
    insert_on_conflict_do_update,
    copy,
    merge_insert,
)


# Updates: every row with one of these ids gets the same values.


def update_one_by_one(connection: _Connection, table: str, ids: Sequence[int], columns: Row) -> None:
    for row_id in ids:
        update_many(connection, table, [row_id], columns)


def update_many(connection: _Connection, table: str, ids: Sequence[int], columns: Row) -> None:
    connection.execute(
        sql.SQL("update {} set {} where id = any(%s)").format(sql.Identifier(table), _settings(columns)),
        [*columns.values(), list(ids)],
    )


def update_from(connection: _Connection, table: str, ids: Sequence[int], columns: Row) -> None:
    connection.execute(
        sql.SQL(
            "update {} as target set {} from unnest(%s::bigint[]) as source (id) where target.id = source.id"
        ).format(sql.Identifier(table), _settings(columns)),
        [*columns.values(), list(ids)],
    )


def update_in_cte(connection: _Connection, table: str, ids: Sequence[int], columns: Row) -> None:
    connection.execute(
        sql.SQL(
            "with changed as (update {} set {} where id = any(%s) returning id) select count(*) from changed"
        ).format(sql.Identifier(table), _settings(columns)),
        [*columns.values(), list(ids)],
    )


def update_prepared(connection: _Connection, table: str, ids: Sequence[int], columns: Row) -> None:
    """With a plan kept by the server, as a busy application has it."""
    for row_id in ids:
        connection.execute(
            sql.SQL("update {} set {} where id = %s").format(sql.Identifier(table), _settings(columns)),
            [*columns.values(), row_id],
            prepare=True,
        )


def update_by_upsert(connection: _Connection, table: str, ids: Sequence[int], columns: Row) -> None:
    """INSERT … ON CONFLICT DO UPDATE with whole rows, as an import does that writes what it has."""
    types = dict(
        connection.execute(
            "select attname, format_type(atttypid, null) from pg_attribute where attrelid = %s::regclass"
            " and attnum > 0 and not attisdropped and not starts_with(attname, 'integrity_')",
            [table],
        ).fetchall()
    )
    selected = [
        sql.SQL("%s::{}").format(sql.SQL(type_name)) if name in columns else sql.Identifier(name)
        for name, type_name in types.items()
    ]
    connection.execute(
        sql.SQL(
            "insert into {table} ({names}) select {selected} from {table} where id = any(%s)"
            " on conflict (id) do update set {changed}"
        ).format(
            table=sql.Identifier(table),
            names=sql.SQL(", ").join(map(sql.Identifier, types)),
            selected=sql.SQL(", ").join(selected),
            changed=sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in columns),
        ),
        [*(columns[name] for name in types if name in columns), list(ids)],
    )


def merge_update(connection: _Connection, table: str, ids: Sequence[int], columns: Row) -> None:
    _require_merge(connection)
    connection.execute(
        sql.SQL(
            "merge into {} as target using unnest(%s::bigint[]) as source (id) on target.id = source.id"
            " when matched then update set {}"
        ).format(sql.Identifier(table), _settings(columns)),
        [list(ids), *columns.values()],
    )


UPDATES: tuple[Update, ...] = (
    update_one_by_one,
    update_many,
    update_from,
    update_in_cte,
    update_prepared,
    update_by_upsert,
    merge_update,
)


# Deletes.


def delete_one_by_one(connection: _Connection, table: str, ids: Sequence[int]) -> None:
    for row_id in ids:
        delete_many(connection, table, [row_id])


def delete_many(connection: _Connection, table: str, ids: Sequence[int]) -> None:
    connection.execute(sql.SQL("delete from {} where id = any(%s)").format(sql.Identifier(table)), [list(ids)])


def delete_using(connection: _Connection, table: str, ids: Sequence[int]) -> None:
    connection.execute(
        sql.SQL(
            "delete from {} as target using unnest(%s::bigint[]) as source (id) where target.id = source.id"
        ).format(sql.Identifier(table)),
        [list(ids)],
    )


def delete_in_cte(connection: _Connection, table: str, ids: Sequence[int]) -> None:
    connection.execute(
        sql.SQL("with gone as (delete from {} where id = any(%s) returning id) select count(*) from gone").format(
            sql.Identifier(table)
        ),
        [list(ids)],
    )


def merge_delete(connection: _Connection, table: str, ids: Sequence[int]) -> None:
    _require_merge(connection)
    connection.execute(
        sql.SQL(
            "merge into {} as target using unnest(%s::bigint[]) as source (id) on target.id = source.id"
            " when matched then delete"
        ).format(sql.Identifier(table)),
        [list(ids)],
    )


DELETES: tuple[Delete, ...] = (delete_one_by_one, delete_many, delete_using, delete_in_cte, merge_delete)

by_every_insert = pytest.mark.parametrize("insert", INSERTS, ids=lambda function: function.__name__)
by_every_update = pytest.mark.parametrize("update", UPDATES, ids=lambda function: function.__name__)
by_every_delete = pytest.mark.parametrize("delete", DELETES, ids=lambda function: function.__name__)
