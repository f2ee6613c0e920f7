"""Nothing to do: writes that concern no rule cost what they cost without the layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import count

from benchmarks import data
from benchmarks.harness import Bench, Connection, Ratio, Spent, Subject, alternate_spent, main, measured, scaled

COLUMNS = """
select attname
from pg_attribute
where attrelid = %s::regclass and attnum > 0 and not attisdropped and attname not like 'integrity%%'
order by attnum
"""

UNRELATED = {
    "quests_quest": "update quests_quest set description = %s where id = %s",
    "applications_application": "update applications_application set applied_at = %s where id = %s",
    "quests_questparticipant": "update quests_questparticipant set progress_notes = %s where id = %s",
}

NEW_APPLICATION = """
insert into applications_application (status, applied_at, reviewed_at, applicant_id, quest_id, reviewed_by_id)
values ('pending', now(), null, %s, %s, null) returning id
"""

NEW = "applications_application: a new pending one"

Write = Callable[[Connection, int], object]


def new_values(column: str) -> Iterator[object]:
    """Yield one value after the other for a column of text or, if its name ends in _at, of time."""
    for second in count():
        moment = datetime.fromtimestamp(second, UTC)
        yield moment if column.endswith("_at") else str(moment)


def one_column(table: str, column: str) -> Write:
    """Return an update of one column to a value it did not have."""
    values = new_values(column)
    statement = f"update {table} set {column} = %s where id = %s"
    return lambda connection, row: connection.execute(statement, [next(values), row])


def whole_row(connection: Connection, table: str, changed: str | None = None) -> Write:
    """Return a save as Django does it: every column but the key, from an instance read before.

    Args:
        connection: to read the columns from.
        table: whose rows are saved.
        changed: a column that each save gives a value it did not have.
    """
    names = [name for (name,) in connection.execute(COLUMNS, [table])]
    others = [name for name in names if name != "id"]
    statement = f"update {table} set {', '.join(f'{name} = %s' for name in others)} where id = %s"
    instances: dict[int, list[object]] = {}
    values = new_values(changed or "")

    def save(connection: Connection, row: int) -> None:
        if changed:
            instances[row][others.index(changed)] = next(values)
        connection.execute(statement, instances[row])

    def load(connection: Connection, row: int) -> None:
        if row in instances:
            save(connection, row)
            return
        found = connection.execute(f"select {', '.join(others)} from {table} where id = %s", [row]).fetchone()
        instances[row] = [*(found or ()), row]

    return load


def writes(connection: Connection) -> dict[str, tuple[str, Write]]:
    """Return the cases: the table whose rows are written, and how."""
    cases: dict[str, tuple[str, Write]] = {}
    for table, statement in UNRELATED.items():
        value = "2025-01-02" if "applied_at" in statement else "as before"
        cases[f"{table}: a column no rule looks at"] = (
            table,
            lambda session, row, statement=statement, value=value: session.execute(statement, [value, row]),
        )
        cases[f"{table}: whole row as it is"] = (table, whole_row(connection, table))
    (person,) = connection.execute("select person(1)").fetchone() or (None,)
    cases[NEW] = (
        "applications_application",
        lambda session, row: session.execute(NEW_APPLICATION, [person, row // 2]),
    )
    return cases


def run(bench: Bench, sizes: Sequence[int]) -> None:
    """Measure every case with one session on each of two databases."""
    (operations,) = sizes
    data.app_database(bench, "app")
    with bench.connect("app") as connection:
        data.lived_in(connection, operations * 4)
    bench.create("by_hand", "app")
    bench.create("ours", "app")
    bench.upgrade("ours")
    bench.vacuum("by_hand", "ours", full=True)
    connections = {name: bench.connect(name) for name in ("ours", "by_hand")}
    cases = {name: writes(connection) for name, connection in connections.items()}
    for case, (table, _) in cases["ours"].items():
        rows = [
            row for (row,) in connections["ours"].execute(f"select id from {table} order by id limit %s", [operations])
        ]

        def contender(name: str, case: str = case, rows: list[int] = rows) -> Callable[[], Spent]:
            connection, (_, write) = connections[name], cases[name][case]

            def once() -> Spent:
                with measured(connection) as spent:
                    for row in rows:
                        write(connection, row)
                return spent

            return once

        for name in connections:
            # Reads the instances that the rounds save.
            contender(name)()
        wall, cpu = alternate_spent(bench.rounds, {name: contender(name) for name in connections})
        aim = [Ratio("ours", "by_hand", at_most=1.05)]
        bench.add(f"{case}, wall time", "µs/write", scaled(wall, 1e6 / len(rows)), aim)
        bench.add(f"{case}, server CPU", "µs/write", scaled(cpu, 1e6 / len(rows)), aim)
    for connection in connections.values():
        connection.close()


SUBJECT = Subject("idle", run, sizes=(1500,), tiny=(200,), rounds=9)

if __name__ == "__main__":
    main(SUBJECT)
