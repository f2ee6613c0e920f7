"""Every repair does what its rule says to the violations that it is given, and nothing to any other."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.types.json import Jsonb
from pytest_postgresql.executors import NoopExecutor

from tests.support import factory, plant
from tests.support.database import copied
from tests.support.proof import CREATE, attach, rows

_Connection = psycopg.Connection[Any]

# With the column that says of which quest a row is.
TABLES = {"applications_application": "quest_id", "quests_questparticipant": "quest_id", "quests_quest": "id"}


def _open_quest_with_approval(connection: _Connection) -> None:
    """One that its own repair can settle: the participant is there."""
    plant.admit(connection, factory.quest(connection))


PLANTS = {
    "duplicate_participant": plant.duplicate_participant,
    "duplicate_approval": plant.duplicate_approval,
    "approved_without_participant": plant.approved_without_participant,
    "open_quest_with_participant": plant.open_quest_with_participant,
    "unassigned_quest_with_participant": plant.unassigned_quest_with_participant,
    "open_quest_with_approval": _open_quest_with_approval,
    "assignee_not_participant": plant.assignee_not_participant,
    "in_progress_without_participant": plant.in_progress_without_participant,
}


@pytest.fixture(scope="module")
def planted(unattached_server: NoopExecutor) -> Iterator[_Connection]:
    """Yield the one connection to a database with two violations of each rule that has a repair, and the layer."""
    with copied(unattached_server, "repairs") as connection:
        for each in PLANTS.values():
            each(connection)
            each(connection)
        attach(connection)
        yield connection


@pytest.fixture
def dirty(planted: _Connection) -> Iterator[_Connection]:
    """Yield it for one test, which commits nothing."""
    yield planted
    planted.rollback()


def _keys(connection: _Connection, rule: str) -> dict[str, int]:
    return {row["key"]: row["quest_id"] for row in rows(connection, rule)}


def _repair(connection: _Connection, rule: str, quest_id: int, key: str) -> None:
    repair = sql.SQL("select integrity.{}(%s, %s, %s)").format(sql.Identifier(f"repair_{rule}"))
    connection.execute(repair, [[quest_id], [key], Jsonb(CREATE)])


def _content(connection: _Connection, but_of: int | None = None) -> list[Any]:
    """Read every row, or those of all quests but one."""
    return [
        connection.execute(
            f"select to_jsonb(t) from {table} as t where {column} is distinct from %s order by id".encode(), [but_of]
        ).fetchall()
        for table, column in TABLES.items()
    ]


def test_a_function_elsewhere_is_no_repair(dirty: _Connection) -> None:
    dirty.execute("create function public.repair_unknown_status() returns int language sql as 'select 1'")
    assert {rule for (rule,) in dirty.execute("select rule from integrity.repair_order where option is null")} == set(
        PLANTS
    )


@pytest.mark.parametrize(
    "statement",
    [
        "select integrity.start_undo(99, null)",
        "select integrity.repair_violation('no_such_rule:quest=1', null)",
    ],
)
def test_what_is_not_there(statement: str, dirty: _Connection, run: int) -> None:
    assert run != 99
    with pytest.raises(errors.NoDataFound) as refused:
        dirty.execute(statement.encode())
    # PostgreSQL's own refusal says nothing of what to do next.
    assert refused.value.diag.message_hint is not None


def test_every_repair_is_tried(dirty: _Connection) -> None:
    assert {rule for (rule,) in dirty.execute("select rule from integrity.repair_order where option is null")} == set(
        PLANTS
    )


@pytest.mark.parametrize("rule", PLANTS)
def test_what_it_is_given(rule: str, dirty: _Connection) -> None:
    found = _keys(dirty, rule)
    key, quest_id = min(found.items())
    before = _content(dirty, but_of=quest_id)
    _repair(dirty, rule, quest_id, key)
    assert set(_keys(dirty, rule)) == set(found) - {key}
    assert _content(dirty, but_of=quest_id) == before


@pytest.mark.parametrize("rule", PLANTS)
def test_one_violation_by_its_key(rule: str, dirty: _Connection) -> None:
    found = _keys(dirty, rule)
    key, quest_id = min(found.items())
    before = _content(dirty, but_of=quest_id)
    (became,) = dirty.execute(
        "select integrity.repair_violation(%s, 'asked for', %s)", [key, Jsonb(CREATE)]
    ).fetchone() or ("",)
    assert became == "repaired"
    assert set(_keys(dirty, rule)) == set(found) - {key}
    assert _content(dirty, but_of=quest_id) == before


@pytest.mark.parametrize("rule", PLANTS)
@pytest.mark.parametrize("others", ["key", "quest"])
def test_not_on_these_quests_or_not_this_key(others: str, rule: str, dirty: _Connection) -> None:
    found = _keys(dirty, rule)
    one, other = sorted(found)[:2]
    before = _content(dirty)
    if others == "key":
        _repair(dirty, rule, found[one], other)
    else:
        _repair(dirty, rule, found[other], one)
    assert _content(dirty) == before


@pytest.mark.parametrize("others", ["key", "quest"])
def test_not_revoked_on_these_quests_or_by_this_key(others: str, dirty: _Connection) -> None:
    found = _keys(dirty, "approved_without_participant")
    one, other = sorted(found)[:2]
    given = (found[one], other) if others == "key" else (found[other], one)
    before = _content(dirty)
    dirty.execute(
        "select integrity.repair_approved_without_participant(%s, %s, %s)",
        [[given[0]], [given[1]], Jsonb({"missing_participant": "revoke"})],
    )
    assert _content(dirty) == before


def _plan(connection: _Connection, run: int, rules: list[str] | None, quest_id: int | None) -> int:
    (planned,) = connection.execute(
        "select integrity.plan_repair(%s, %s, null, %s, null)", [run, rules, quest_id]
    ).fetchone() or (0,)
    return int(planned)


@pytest.fixture
def run(dirty: _Connection) -> int:
    (started,) = dirty.execute("select integrity.start_repair('test', '{}')").fetchone() or (0,)
    return int(started)


@pytest.fixture
def twice_wrong(unattached_server: NoopExecutor) -> Iterator[tuple[_Connection, int]]:
    """Yield a database, and its quest with two violations that have nothing to do with each other."""
    with copied(unattached_server, "twice_wrong") as connection:
        quest_id = plant.duplicate_approval(connection).quest_id
        stranger = factory.user(connection)
        connection.execute("update quests_quest set assigned_to_id = %s where id = %s", [stranger, quest_id])
        attach(connection)
        yield connection, quest_id


def test_a_second_plan_adds_what_is_new_on_the_same_quests(dirty: _Connection, run: int) -> None:
    (quest_id,) = set(_keys(dirty, "duplicate_approval").values()) - {max(_keys(dirty, "duplicate_approval").values())}
    assert _plan(dirty, run, None, quest_id) > 0
    assert _plan(dirty, run, None, None) == 0


def test_a_second_plan_lists_what_the_first_left_out(twice_wrong: tuple[_Connection, int]) -> None:
    connection, quest_id = twice_wrong
    (run,) = connection.execute("select integrity.start_repair('test', '{}')").fetchone() or (0,)
    assert _plan(connection, run, ["duplicate_approval"], quest_id) == 1
    assert _plan(connection, run, None, quest_id) == 1
    rules = connection.execute("select rule from integrity.repair_item order by number").fetchall()
    assert rules == [("duplicate_approval",), ("assignee_not_participant",)]


@pytest.mark.parametrize(
    ("rule", "planned"),
    [
        ("duplicate_approval", ["duplicate_approval"]),
        # What comes before it may be what it follows from.
        ("assignee_not_participant", ["duplicate_approval", "assignee_not_participant"]),
    ],
)
def test_one_violation_and_what_comes_before_it(
    rule: str, planned: list[str], twice_wrong: tuple[_Connection, int]
) -> None:
    connection, _ = twice_wrong
    ((key, _),) = _keys(connection, rule).items()
    assert connection.execute(
        "select integrity.repair_violation(%s, 'asked for', %s)", [key, Jsonb(CREATE)]
    ).fetchone() == ("repaired",)
    items = connection.execute("select rule from integrity.repair_item order by number").fetchall()
    assert [listed for (listed,) in items] == planned


def test_a_violation_without_a_repair_is_not_planned_though_its_rule_has_one(dirty: _Connection, run: int) -> None:
    """A project's own rule, which knows what to do about some of what it finds."""
    dirty.execute(
        "create view integrity.no_title as select 'no_title'::text as rule, 'error'::text as severity,"
        " id as quest_id, null::uuid as user_id, null::bigint as application_id, null::bigint as participant_id,"
        " 'no title' as message, '{}'::jsonb as expected, '{}'::jsonb as found,"
        " case when slug = 'helped' then 'fill' end as repair, 'no_title:quest=' || id || slug as key"
        " from public.quests_quest where title = '' union all"
        " select 'no_title', 'error', id, null, null, null, 'again', '{}', '{}', null, 'no_title:again=' || id"
        " from public.quests_quest where slug = 'helped'"
    )
    dirty.execute(
        "create function integrity.repair_no_title(quests bigint[], keys text[], options jsonb) returns void"
        " language sql begin atomic; update public.quests_quest set title = 'n/a' where id = any(quests); end"
    )
    dirty.execute("select integrity.add_rule('no_title', 'error', 'empty titles', 'None is empty.')")
    helped = factory.quest(dirty, title="", slug="helped")
    factory.quest(dirty, title="", slug="alone")

    assert _plan(dirty, run, ["no_title"], None) == 1
    assert dirty.execute("select integrity.repair_violation(%s, 'why')", [f"no_title:quest={helped}helped"]).fetchone()
    items = dirty.execute("select distinct key from integrity.repair_item where rule = 'no_title'").fetchall()
    assert items == [(f"no_title:quest={helped}helped",)]
    with pytest.raises(errors.NoDataFound):
        dirty.execute("select integrity.repair_violation(%s, 'why')", [f"no_title:again={helped}"])


def test_a_violation_without_a_repair_is_no_reason_to_repair_what_comes_before_it(
    twice_wrong: tuple[_Connection, int],
) -> None:
    """Nor is it repaired with what comes after it."""
    connection, quest_id = twice_wrong
    for rule, repair in (("no_repair", "null::text"), ("named", "'fill'")):
        connection.execute(
            f"create view integrity.{rule} as select '{rule}'::text as rule, 'error'::text as severity,"
            " id as quest_id, null::uuid as user_id, null::bigint as application_id, null::bigint as participant_id,"
            f" 'named' as message, '{{}}'::jsonb as expected, '{{}}'::jsonb as found, {repair} as repair,"
            f" '{rule}:quest=' || id as key from public.quests_quest where title <> 'n/a'".encode()
        )
        connection.execute(
            f"create function integrity.repair_{rule}(quests bigint[], keys text[], options jsonb) returns void"
            " language sql begin atomic;"
            " update public.quests_quest set title = 'n/a' where id = any(quests); end".encode()
        )
        connection.execute(f"select integrity.add_rule('{rule}', 'error', 'named', 'None has a name.')".encode())
    connection.commit()

    with pytest.raises(errors.NoDataFound) as refused:
        connection.execute("select integrity.repair_violation(%s, 'why')", [f"no_repair:quest={quest_id}"])
    assert refused.value.diag.message_hint is not None
    connection.rollback()

    connection.execute("select integrity.repair_violation(%s, 'why')", [f"named:quest={quest_id}"])
    planned = connection.execute("select rule from integrity.repair_item order by number").fetchall()
    assert [rule for (rule,) in planned] == ["duplicate_approval", "assignee_not_participant", "named"]


def test_an_option_that_nobody_knows(dirty: _Connection) -> None:
    with pytest.raises(errors.InvalidParameterValue):
        dirty.execute(
            "select integrity.repair_approved_without_participant('{}', '{}', %s)",
            [Jsonb({"missing_participant": "invent"})],
        )


def _unfinished(connection: _Connection) -> list[int]:
    found = connection.execute("select id from integrity.repair_run where finished_at is null order by id").fetchall()
    return [run for (run,) in found]


def test_a_run_does_its_own_and_ends_alone(dirty: _Connection, run: int) -> None:
    """Beside one that was planned before it, and is not at work."""
    assert _plan(dirty, run, None, None) > 0
    quest_id = max(_keys(dirty, "assignee_not_participant").values())
    (second,) = dirty.execute("select integrity.start_repair('test', '{}')").fetchone() or (0,)
    assert _plan(dirty, second, ["assignee_not_participant"], quest_id) == 1
    before = _content(dirty, but_of=quest_id)

    batches = [dirty.execute("select integrity.repair_batch(%s, 100)", [second]).fetchone() for _ in range(2)]

    assert batches == [(1,), (0,)]
    assert _content(dirty, but_of=quest_id) == before
    outcomes = "select distinct outcome from integrity.repair_item where run = %s"
    assert dirty.execute(outcomes, [run]).fetchall() == [(None,)]
    assert dirty.execute(outcomes, [second]).fetchall() == [("repaired",)]
    assert _unfinished(dirty) == [run]


def test_an_undo_does_its_own_and_ends_alone(dirty: _Connection) -> None:
    undone = []
    for rule in ("in_progress_without_participant", "assignee_not_participant"):
        dirty.execute("select integrity.repair_violation(%s, 'asked for')", [min(_keys(dirty, rule))])
        (repaired,) = dirty.execute("select max(id) from integrity.repair_run").fetchone() or (0,)
        undone += dirty.execute("select integrity.start_undo(%s, 'a mistake')", [repaired]).fetchone() or (0,)
    events = "select quest_id from integrity.event where kind = 'undone'"
    (quest_id,) = dirty.execute("select quest_id from integrity.repair_item where run = %s", undone[1:]).fetchone() or (
        0,
    )

    assert dirty.execute("select integrity.undo_batch(%s, 100)", undone[1:]).fetchone() == (1,)
    assert undone[1] in _unfinished(dirty)
    assert dirty.execute("select integrity.undo_batch(%s, 100)", undone[1:]).fetchone() == (0,)
    outcomes = "select outcome from integrity.repair_item where run = %s"
    assert [dirty.execute(outcomes, [each]).fetchall() for each in undone] == [[(None,)], [("partly undone",)]]
    assert undone[0] in _unfinished(dirty)
    assert undone[1] not in _unfinished(dirty)
    assert dirty.execute(events).fetchall() == [(quest_id,)]


def test_what_a_deferred_constraint_refuses_is_refused_at_once(dirty: _Connection) -> None:
    """And not at COMMIT, where it would take all the others with it."""
    dirty.execute("create table public.member (id uuid primary key)")
    dirty.execute(
        "alter table quests_quest add constraint assignee_is_member foreign key (assigned_to_id)"
        " references public.member deferrable initially deferred not valid"
    )
    keys = sorted(_keys(dirty, "unassigned_quest_with_participant"))
    became = dirty.execute("select integrity.repair_violation(%s, 'why')", keys[:1]).fetchone()
    assert became == ("refused",)
    details = dirty.execute("select distinct detail from integrity.repair_item where key = %s", keys[:1]).fetchall()
    assert details == [("assignee_is_member",)]
    assert dirty.execute("select from integrity.event where kind = 'repaired'").fetchall() == []


def test_one_violation_that_another_run_has_planned(dirty: _Connection, run: int) -> None:
    assert _plan(dirty, run, None, None) > 0
    key = min(_keys(dirty, "in_progress_without_participant"))
    assert dirty.execute("select integrity.repair_violation(%s, 'asked for', %s)", [key, Jsonb(CREATE)]).fetchone() == (
        "repaired",
    )


@pytest.mark.parametrize("rule", PLANTS)
def test_what_is_written_needs_no_correction(rule: str, dirty: _Connection) -> None:
    """A repair writes what the mechanism would derive."""
    key, quest_id = max(_keys(dirty, rule).items())
    _repair(dirty, rule, quest_id, key)
    assert dirty.execute("select from integrity.event where kind = 'quest_write_corrected'").fetchall() == []


def test_every_batch_may_break_what_is_deferred_on_its_way(dirty: _Connection, run: int) -> None:
    """A project's own repair, of two statements."""
    dirty.execute("create table public.flag (number int unique deferrable initially deferred)")
    dirty.execute("insert into public.flag values (0)")
    dirty.execute(
        "create view integrity.no_title as select 'no_title'::text as rule, 'error'::text as severity,"
        " id as quest_id, null::uuid as user_id, null::bigint as application_id, null::bigint as participant_id,"
        " 'no title' as message, '{}'::jsonb as expected, '{}'::jsonb as found, 'fill'::text as repair,"
        " 'no_title:quest=' || id as key from public.quests_quest where title = ''"
    )
    dirty.execute(
        "create function integrity.repair_no_title(quests bigint[], keys text[], options jsonb) returns void"
        " language sql begin atomic; insert into public.flag values (0);"
        " delete from public.flag where ctid <> (select min(ctid) from public.flag);"
        " update public.quests_quest set title = 'n/a' where id = any(quests); end"
    )
    dirty.execute("select integrity.add_rule('no_title', 'error', 'empty titles', 'None is empty.')")
    for _ in range(2):
        factory.quest(dirty, title="")
    assert _plan(dirty, run, ["no_title"], None) == 2
    for _ in range(2):
        dirty.execute("select integrity.repair_batch(%s, 1)", [run])
    outcomes = dirty.execute("select outcome, detail from integrity.repair_item where run = %s", [run]).fetchall()
    assert outcomes == [("repaired", None)] * 2


def test_only_what_changed_is_recorded(dirty: _Connection) -> None:
    """The participant of the two approvals stays as it is."""
    dirty.execute("select integrity.repair_violation(%s, 'asked for')", [min(_keys(dirty, "duplicate_approval"))])
    changes = dirty.execute("select relation, before is distinct from after from integrity.repair_change").fetchall()
    assert changes == [("public.applications_application", True)]


def test_rows_of_a_quest_are_its_own(dirty: _Connection) -> None:
    """What others do meanwhile must not be taken for the repair's doing."""
    dirty.execute("create table badge (participant_id bigint references quests_questparticipant (id))")
    dirty.execute("insert into badge select id from quests_questparticipant")
    quest_id = next(iter(_keys(dirty, "duplicate_participant").values()))
    found = dirty.execute(
        "select relation, content ->> 'quest_id', quest_id from integrity.quest_rows(array[%s::bigint])", [quest_id]
    ).fetchall()
    assert {of_quest for *_, of_quest in found} == {quest_id}
    assert {of_quest for _, of_quest, _ in found} == {str(quest_id), None}
    assert sorted({relation for relation, *_ in found}) == [
        "public.applications_application",
        "public.badge",
        "public.quests_quest",
        "public.quests_questparticipant",
    ]
    assert [relation for relation, *_ in found].count("public.badge") == 2


@pytest.mark.parametrize(
    ("kind", "value", "setting"),
    [
        ("timestamptz", "2026-01-01 00:00+00", "timezone = 'Asia/Tokyo'"),
        ("interval", "1 day 2 hours", "intervalstyle = 'sql_standard'"),
        ("bytea", "\\x00ff", "bytea_output = 'escape'"),
        ("double precision", "0.1234567890123456", "extra_float_digits = -10"),
    ],
)
def test_rows_look_the_same_whoever_looks(kind: str, value: str, setting: str, dirty: _Connection) -> None:
    dirty.execute(
        f"create table badge (participant_id bigint references quests_questparticipant, worth {kind})".encode()
    )
    dirty.execute("insert into badge select id, %s from quests_questparticipant", [value])
    quest_id = next(iter(_keys(dirty, "duplicate_participant").values()))
    look = "select content from integrity.quest_rows(array[%s::bigint]) where relation = 'public.badge'"
    before = dirty.execute(look.encode(), [quest_id]).fetchall()
    dirty.execute(f"set local {setting}".encode())
    assert dirty.execute(look.encode(), [quest_id]).fetchall() == before != []


def test_an_undo_is_of_one_run(dirty: _Connection) -> None:
    quests = []
    for rule in ("in_progress_without_participant", "assignee_not_participant"):
        key, quest_id = min(_keys(dirty, rule).items())
        dirty.execute("select integrity.repair_violation(%s, 'asked for', %s)", [key, Jsonb(CREATE)])
        quests.append(quest_id)
    runs = dirty.execute(
        "select id from integrity.repair_run where kind = 'repair' order by id desc limit 2"
    ).fetchall()
    (undo,) = dirty.execute("select integrity.start_undo(%s, 'a mistake')", runs[1]).fetchone() or (0,)
    items = dirty.execute("select quest_id from integrity.repair_item where run = %s", [undo]).fetchall()
    assert items == [(quests[0],)]


def test_everything_though_the_session_checks_at_once(dirty: _Connection) -> None:
    """What a repair leaves for the next one to settle is for the law to judge at the end."""
    dirty.execute("set constraints all immediate")
    (run,) = dirty.execute("select integrity.start_repair('test', %s)", [Jsonb(CREATE)]).fetchone() or (0,)
    dirty.execute("select integrity.plan_repair(%s, null, null, null, null)", [run])
    while dirty.execute("select integrity.repair_batch(%s, 100)", [run]).fetchone() != (0,):
        pass
    outcomes = dirty.execute("select distinct outcome from integrity.repair_item where run = %s", [run]).fetchall()
    assert {outcome for (outcome,) in outcomes} <= {"repaired", "gone"}
    assert {rule: _keys(dirty, rule) for rule in PLANTS} == {rule: {} for rule in PLANTS}


def test_what_came_to_nothing_is_no_effect(dirty: _Connection) -> None:
    """A later step of the run took it back."""
    (run,) = dirty.execute("select integrity.start_repair('test', '{}')").fetchone() or (0,)
    for before, after in (("open", "in-progress"), ("in-progress", "open")):
        dirty.execute(
            "insert into integrity.repair_change (run, rule, quest_id, relation, row_key, before, after)"
            " values (%s, 'any', 1, 'public.quests_quest', '{}', jsonb_build_object('status', %s::text),"
            " jsonb_build_object('status', %s::text))",
            [run, before, after],
        )
    assert dirty.execute("select from integrity.repair_effect where run = %s", [run]).fetchall() == []
