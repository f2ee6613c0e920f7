"""One approval: ours against the app's own transaction by hand, one server-side function, and Django's ORM."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import count

from benchmarks import data
from benchmarks.harness import (
    Bench,
    Connection,
    Ratio,
    Spent,
    Subject,
    alternate,
    alternate_spent,
    main,
    measured,
    scaled,
)
from benchmarks.harness import throughput as tps

USERS_LOOPED = 10

# Every client takes ids of its own: nobody waits for anybody, and no round trip is spent on a sequence.
NEXT = """
\\set k :k + 1
\\set i :base + :k * :clients + :client_id
"""

OURS = f"{NEXT}update applications_application set status = 'approved' where id = :i;\n"

# What the app does, without its ORM: six round trips.
BY_HAND = f"""{NEXT}
begin;
update applications_application set status = 'approved', reviewed_at = now() where id = :i
  returning quest_id as quest, applicant_id as person \\gset
select id from quests_questparticipant where quest_id = :quest and user_id = :person;
select count(*) from quests_questparticipant where quest_id = :quest;
insert into quests_questparticipant (status, joined_at, progress_notes, quest_id, user_id)
  values ('joined', now(), '', :quest, :person);
update quests_quest set status = 'in-progress', assigned_to_id = :person where id = :quest;
commit;
"""

FUNCTION = f"{NEXT}select approve(:i);\n"

APPROVE = """
create function approve(application bigint) returns void language plpgsql as $$
declare
  of_quest bigint;
  person uuid;
begin
  update applications_application set status = 'approved', reviewed_at = now() where id = application
  returning quest_id, applicant_id into of_quest, person;
  insert into quests_questparticipant (status, joined_at, progress_notes, quest_id, user_id)
  values ('joined', now(), '', of_quest, person);
  update quests_quest set status = 'in-progress', assigned_to_id = person where id = of_quest;
end
$$
"""


def ours(connection: Connection, application: int) -> None:
    """Approve with the layer: one statement."""
    connection.execute("update applications_application set status = 'approved' where id = %s", [application])


def by_hand(connection: Connection, application: int) -> None:
    """Approve as the app does, statement by statement."""
    connection.execute("begin")
    quest, person = connection.execute(
        "update applications_application set status = 'approved', reviewed_at = now() where id = %s"
        " returning quest_id, applicant_id",
        [application],
    ).fetchone() or (None, None)
    connection.execute("select id from quests_questparticipant where quest_id = %s and user_id = %s", [quest, person])
    connection.execute("select count(*) from quests_questparticipant where quest_id = %s", [quest])
    connection.execute(
        "insert into quests_questparticipant (status, joined_at, progress_notes, quest_id, user_id)"
        " values ('joined', now(), '', %s, %s)",
        [quest, person],
    )
    connection.execute(
        "update quests_quest set status = 'in-progress', assigned_to_id = %s where id = %s", [person, quest]
    )
    connection.execute("commit")


def function(connection: Connection, application: int) -> None:
    """Approve with one server-side function without the layer: the limit."""
    connection.execute("select approve(%s)", [application])


def databases(bench: Bench, applications: int) -> None:
    """Create `by_hand`, `function` and `ours`, copies of one template but for the layer."""
    data.app_database(bench, "app")
    with bench.connect("app") as connection:
        data.pending(connection, applications)
    bench.vacuum("app")
    bench.create("by_hand", "app")
    bench.create("function", "app")
    with bench.connect("function") as connection:
        connection.execute(APPROVE)
    bench.create("ours", "app")
    bench.upgrade("ours")
    bench.vacuum("by_hand", "function", "ours", full=True)


def run(bench: Bench, sizes: Sequence[int]) -> None:
    """Measure throughput with pgbench, CPU time with one session, and Django's ORM with and without the layer."""
    (transactions,) = sizes
    per_setting = transactions * (bench.rounds + 1) * 3
    looped = max(transactions // 2, 50)
    applications = 4 * per_setting + looped * (bench.rounds + 2) + 1000
    databases(bench, applications)
    ids = {name: count(1) for name in ("ours", "by_hand", "function")}
    used = _throughput(bench, transactions)
    for name in ids:
        ids[name] = count(used)
    _cpu(bench, ids, looped)
    _django(bench, max(looped // 5, 20), next(ids["ours"]) + 100)


def _throughput(bench: Bench, transactions: int) -> int:
    """Run pgbench at every setting; return the first application that is still pending everywhere."""
    scripts = {"ours": OURS, "by_hand": BY_HAND, "function": FUNCTION}
    used = dict.fromkeys(scripts, 1)
    for commit in ("off", "on"):
        for clients in (1, 2):
            # An fsync takes milliseconds: fewer transactions tell as much.
            each = transactions if commit == "off" else max(transactions // 4, 10)

            def contender(
                name: str, clients: int = clients, commit: str = commit, each: int = each
            ) -> Callable[[], float]:
                def once() -> float:
                    base = used[name]
                    used[name] += each * clients + 2 * clients
                    out = bench.pgbench(
                        name,
                        scripts[name],
                        *("-c", str(clients), "-j", str(clients), "-t", str(each)),
                        *("-D", f"base={base}", "-D", "k=0", "-D", f"clients={clients}"),
                        settings={"synchronous_commit": commit},
                    )
                    return tps(out)

                return once

            contenders = {name: contender(name) for name in scripts}
            alternate(1, contenders)
            samples = alternate(bench.rounds, contenders)
            case = f"pgbench, {clients} client{'s' * (clients > 1)}, synchronous_commit {commit}"
            bench.add(
                case,
                "approvals/s",
                samples,
                [Ratio("ours", "by_hand", at_least=1.5), Ratio("function", "ours", at_most=1.5)],
            )
    return max(used.values())


def _cpu(bench: Bench, ids: dict[str, count[int]], looped: int) -> None:
    """Measure wall and server CPU time of one session that approves one by one."""
    ways = {"ours": ours, "by_hand": by_hand, "function": function}
    connections = {name: bench.connect(name) for name in ways}

    def contender(name: str) -> Callable[[], Spent]:
        def once() -> Spent:
            with measured(connections[name]) as spent:
                for _ in range(looped):
                    ways[name](connections[name], next(ids[name]))
            return spent

        return once

    wall, cpu = alternate_spent(bench.rounds, {name: contender(name) for name in ways})
    aims = [Ratio("by_hand", "ours", at_least=1.5), Ratio("ours", "function", at_most=1.5)]
    bench.add("one session, wall time", "µs/approval", scaled(wall, 1e6 / looped), aims)
    bench.add("one session, server CPU", "µs/approval", scaled(cpu, 1e6 / looped), [Ratio("ours", "by_hand"), aims[1]])
    with connections["ours"] as connection:
        _profile(bench, connection, next(ids["ours"]))
    for connection in connections.values():
        connection.close()


def _profile(bench: Bench, connection: Connection, application: int) -> None:
    """Keep what each trigger and function of one approval takes."""
    with connection.transaction(force_rollback=True):
        lines = connection.execute(
            "explain (analyze, timing) update applications_application set status = 'approved' where id = %s",
            [application],
        ).fetchall()
    bench.texts["approval-triggers"] = "\n".join(line for (line,) in lines) + "\n"


def _django(bench: Bench, approvals: int, first: int) -> None:
    """Let Django's ORM approve, as the app does, without the layer and with it."""
    from tests.django_app import database

    database.setup()
    from django.db import connection as django_connection

    from tests.django_app import endpoints
    from tests.django_app.users.models import User

    ids = {name: count(first) for name in ("by_hand", "ours")}

    def contender(name: str) -> Callable[[], Spent]:
        def once() -> Spent:
            with database.use(bench.url(name)):
                reviewer = User.objects.order_by("pk").first()
                for _ in range(USERS_LOOPED):
                    endpoints.approve(next(ids[name]), reviewer)
                session = django_connection.connection
                with measured(session) as spent:
                    for _ in range(approvals):
                        endpoints.approve(next(ids[name]), reviewer)
            return spent

        return once

    started = time.monotonic()
    wall, cpu = alternate_spent(
        bench.rounds, {"Django alone": contender("by_hand"), "Django on ours": contender("ours")}, warm_up=False
    )
    bench.notes["django_seconds"] = round(time.monotonic() - started)
    ratio = [Ratio("Django on ours", "Django alone")]
    bench.add("Django's ORM, unchanged, wall time", "ms/approval", scaled(wall, 1e3 / approvals), ratio)
    bench.add("Django's ORM, unchanged, server CPU", "µs/approval", scaled(cpu, 1e6 / approvals), ratio)


SUBJECT = Subject("approval", run, sizes=(1500,), tiny=(100,), on_disk=True)

if __name__ == "__main__":
    main(SUBJECT)
