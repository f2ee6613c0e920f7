"""`quest-integrity enforce` and `relax`: what they change, what they leave, and what they say to what cannot be."""

import csv
import io
from collections.abc import Iterator
from typing import Any

import alembic.command
import psycopg
import pytest
from psycopg import errors, sql
from pytest_postgresql.executors import NoopExecutor

from checks import attachment, ddl, guards, law, migrate
from tests.law.conftest import Untouched
from tests.law.test_on_request import ON_REQUEST
from tests.support import catalog, cli, factory, plant
from tests.support.database import another, prepared, target_of
from tests.support.guards import statuses as wrong_guards

_Connection = psycopg.Connection[Any]

RULES = {rule: constraint for constraint, (rule, *_) in ON_REQUEST.items()}
SEVERITIES = {
    "participant_without_approval": "warning",
    "duplicate_pending": "warning",
    "quest_with_several_participants": "off",
}
PLANTS = plant.RULES | plant.OFF
CONSTRAINTS = """
select relname from pg_class where relname = any(%s)
union
select conname from pg_constraint where conname = any(%s)
"""

every_rule = pytest.mark.parametrize("rule", RULES)


def _damaged(connection: _Connection) -> list[guards.Guard]:
    connection.commit()
    return guards.damaged(connection)


def _listed(connection: _Connection, rule: str) -> dict[str, str]:
    rows = csv.DictReader(io.StringIO(cli.run(connection, "rules", "--format", "csv").out))
    return next(row for row in rows if row["rule"] == rule)


def _present(connection: _Connection) -> set[str]:
    return {name for (name,) in connection.execute(CONSTRAINTS, [list(ON_REQUEST)] * 2)}


def _state(connection: _Connection, rule: str) -> str:
    found = connection.execute("select state from integrity.law_status where name = %s", [RULES[rule]]).fetchone()
    assert found is not None
    return str(found[0])


@every_rule
def test_enforced_and_relaxed(rule: str, adopted: _Connection) -> None:
    before = catalog.snapshot(adopted)
    assert (_listed(adopted, rule)["severity"], _listed(adopted, rule)["enforced"]) == (
        SEVERITIES[rule],
        "on request: no",
    )

    ran = cli.run(adopted, "enforce", rule)
    assert (ran.code, ran.out, ran.err.splitlines()[-1]) == (0, "", f"enforced: {rule}")
    assert (_listed(adopted, rule)["severity"], _listed(adopted, rule)["enforced"]) == ("error", "on request: yes")
    assert _present(adopted) == {RULES[rule]}
    adopted.commit()
    assert wrong_guards(adopted) == {}
    assert adopted.execute("select from integrity.guard where waiting").fetchall() == []

    ran = cli.run(adopted, "relax", rule)
    assert (ran.code, ran.out, ran.err.splitlines()[-1]) == (0, "", f"relaxed: {rule}")
    assert _present(adopted) == set()
    assert catalog.changed(before, catalog.snapshot(adopted)) == {}
    assert wrong_guards(adopted) == {}
    assert adopted.execute("select kind, before, after from integrity.event order by id").fetchall() == [
        ("rule_enforced", {rule: SEVERITIES[rule]}, {rule: "error"}),
        ("rule_relaxed", {rule: "error"}, {rule: SEVERITIES[rule]}),
    ]


@every_rule
def test_twice_changes_nothing_more(rule: str, migrated: _Connection) -> None:
    for command in ("enforce", "enforce", "relax", "relax"):
        assert cli.run(migrated, command, rule).code == 0
    assert len(migrated.execute("select from integrity.event").fetchall()) == 2


@pytest.mark.parametrize("command", ["enforce", "relax"])
@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("approved_without_participant", "rule approved_without_participant is always enforced: "),
        ("completed_quest_unfinished", "no constraint can enforce rule completed_quest_unfinished: a constraint reads"),
        ("duplicate_pendin", "there is no rule 'duplicate_pendin' (did you mean duplicate_pending?)"),
    ],
)
def test_what_cannot_be(command: str, rule: str, sentence: str, untouched: Untouched) -> None:
    ran = cli.run(untouched.connection, command, rule)
    assert (ran.code, ran.out) == (2, "")
    assert sentence in ran.err.splitlines()[-1]
    assert untouched.changes() == {}


@every_rule
def test_rows_in_the_way(rule: str, unattached: _Connection) -> None:
    """It waits, says so, and goes on from there; meanwhile it is no damage."""
    planted = PLANTS[rule](unattached)
    cli.run(unattached, "upgrade")
    ran = cli.run(unattached, "enforce", rule)
    assert ran.code == 1
    assert RULES[rule] in ran.out
    assert f"{rule} is not enforced on old rows yet" in ran.err
    assert _state(unattached, rule) == ("not validated" if rule == "participant_without_approval" else "missing")
    assert _damaged(unattached) == []
    assert cli.run(unattached, "audit").code == 1
    assert cli.run(unattached, "validate").code == 1

    _settle(unattached, rule, planted)
    assert cli.run(unattached, "validate").code == 0
    assert _state(unattached, rule) == "enforced"
    assert _damaged(unattached) == []
    assert cli.run(unattached, "audit").code == 0


def _settle(connection: _Connection, rule: str, planted: plant.Planted) -> None:
    if rule == "participant_without_approval":
        ran = cli.run(connection, "audit", "--fix-issues", "--yes", "--rule", rule, "--unapproved", "approve")
        assert ran.code == 0
        return
    table, status = {
        "duplicate_pending": ("applications_application", "rejected"),
        "quest_with_several_participants": ("quests_questparticipant", "dropped"),
    }[rule]
    last = sql.SQL("select max(id) from {} where quest_id = {}").format(sql.Identifier(table), planted.quest_id)
    write = sql.SQL("update {} set status = {} where id = ({})")
    connection.execute(write.format(sql.Identifier(table), sql.Literal(status), last))
    connection.commit()


def test_after_a_repair_of_everything(sync_001: _Connection) -> None:
    """The triggers that stood in for constraints are gone by then, and leave the manifest."""
    assert sync_001.execute("select from integrity.guard where stands_in_for is not null").fetchall()
    assert cli.run(sync_001, "enforce", "duplicate_pending").code == 0
    assert _damaged(sync_001) == []
    fix = ("audit", "--fix-issues", "--yes", "--missing-participant", "create")
    assert cli.run(sync_001, *fix).code == 0
    assert cli.run(sync_001, "validate").code == 0
    assert cli.run(sync_001, "enforce", "quest_with_several_participants").code == 0
    assert _damaged(sync_001) == []
    assert sync_001.execute("select from integrity.guard where stands_in_for is not null").fetchall() == []


def test_a_stand_in_that_was_taken_away_is_not_forgotten(sync_001: _Connection) -> None:
    sync_001.execute("drop trigger integrity_end_outlived on applications_application")
    ran = cli.run(sync_001, "enforce", "duplicate_pending")
    assert (ran.code, "integrity_end_outlived on public.applications_application" in ran.err) == (2, True)


def test_new_rows_are_refused_while_old_ones_wait(unattached: _Connection) -> None:
    plant.participant_without_approval(unattached)
    cli.run(unattached, "upgrade")
    cli.run(unattached, "enforce", "participant_without_approval")
    factory.participant(unattached, factory.quest(unattached), factory.user(unattached))
    with pytest.raises(errors.ForeignKeyViolation) as refused:
        unattached.commit()
    assert refused.value.diag.constraint_name == RULES["participant_without_approval"]


@every_rule
def test_asked_for_in_sql_and_built_by_validate(rule: str, migrated: _Connection) -> None:
    """As after a kill of `enforce` between its two halves."""
    migrated.execute("select integrity.enforce(%s)", [rule])
    migrated.commit()
    assert _state(migrated, rule) == "missing"
    assert _damaged(migrated) == []
    assert cli.run(migrated, "validate").code == 0
    assert _state(migrated, rule) == "enforced"


@every_rule
def test_a_constraint_that_goes_is_damage_and_comes_back(rule: str, enforced: _Connection) -> None:
    name = RULES[rule]
    if rule == "duplicate_pending":
        enforced.execute(sql.SQL("drop index {}").format(sql.Identifier(name)))
    else:
        table = "quests_questparticipant"
        enforced.execute(sql.SQL("alter table {} drop constraint {}").format(*map(sql.Identifier, (table, name))))
    enforced.commit()
    assert [status for identity, status in wrong_guards(enforced).items() if name in str(identity)] == ["missing"]
    assert cli.run(enforced, "guards", "--fix", "--yes").code == 0
    assert _state(enforced, rule) == "enforced"
    enforced.commit()
    assert wrong_guards(enforced) == {}


@pytest.mark.parametrize(
    "forgery",
    [
        "update integrity.law set chosen = not chosen where chosen is not null",
        "update integrity.law set chosen = null where chosen is not null",
        "update integrity.rule set relaxed_severity = 'off' where rule = 'duplicate_pending'",
    ],
)
def test_a_forged_choice_is_damage(forgery: str, migrated: _Connection) -> None:
    migrated.execute(forgery.encode())
    migrated.commit()
    assert set(wrong_guards(migrated).values()) == {"altered"}
    assert cli.run(migrated, "guards", "--fix", "--yes").code == 0
    migrated.commit()
    assert wrong_guards(migrated) == {}


@every_rule
def test_a_damaged_layer_is_not_accepted(rule: str, migrated: _Connection) -> None:
    """The manifest is written again, and what is wrong with anything else must not get into it."""
    migrated.execute("alter table quests_quest disable trigger integrity_mark")
    migrated.commit()
    damage = wrong_guards(migrated)
    ran = cli.run(migrated, "enforce", rule)
    assert ran.code == 2
    assert "integrity_mark on public.quests_quest" in ran.err
    migrated.commit()
    assert wrong_guards(migrated) == damage
    assert _state(migrated, rule) == "not requested"


@every_rule
def test_an_operator_may_not(rule: str, untouched: Untouched) -> None:
    connection = untouched.connection
    connection.execute("set role integrity_operator")
    for function in ("enforce", "relax"):
        with pytest.raises(errors.InsufficientPrivilege), connection.transaction():
            connection.execute(f"select integrity.{function}(%s)".encode(), [rule])


def test_detached_and_attached(enforced: _Connection) -> None:
    before = catalog.snapshot(enforced)
    assert cli.run(enforced, "detach").code == 0
    assert {_state(enforced, rule) for rule in RULES} == {"enforced"}
    assert cli.run(enforced, "relax", "duplicate_pending").code == 3
    assert cli.run(enforced, "attach").code == 0
    assert catalog.changed(before, catalog.snapshot(enforced)) == {}
    enforced.commit()
    assert wrong_guards(enforced) == {}


def test_waiting_ones_do_not_keep_it_attached(unattached: _Connection) -> None:
    plant.duplicate_pending(unattached)
    cli.run(unattached, "upgrade")
    cli.run(unattached, "enforce", "duplicate_pending")
    assert cli.run(unattached, "detach").code == 0
    assert cli.run(unattached, "attach").code == 0
    assert attachment.since(unattached) is None


def test_taken_away_and_back(enforced: _Connection) -> None:
    """What a downgrade below them drops has to be asked for again."""
    assert cli.run(enforced, "downgrade", "0007_law", "-x", "drop-records=true").code == 0
    assert _present(enforced) == set()
    assert dict(enforced.execute("select rule, severity from integrity.rule where rule = any(%s)", [list(RULES)])) == (
        SEVERITIES
    )
    assert cli.run(enforced, "upgrade").code == 0
    assert {_state(enforced, rule) for rule in RULES} == {"not requested"}
    enforced.commit()
    assert wrong_guards(enforced) == {}


def test_kept_by_a_downgrade_above_them(enforced: _Connection) -> None:
    before = catalog.snapshot(enforced)
    assert cli.run(enforced, "downgrade", "0011_roles").code == 0
    assert cli.run(enforced, "upgrade").code == 0
    assert catalog.changed(before, catalog.snapshot(enforced)) == {}
    enforced.commit()
    assert wrong_guards(enforced) == {}


VIEW = """
create view integrity.self_review as
select
  'self_review'::text as rule,
  'warning'::text as severity,
  quest_id,
  applicant_id as user_id,
  id as application_id,
  null::bigint as participant_id,
  format('user %s reviewed their own application %s', applicant_id, id) as message,
  '{}'::jsonb as expected,
  '{"reviewed_by": "the applicant"}'::jsonb as found,
  null::text as repair,
  'self_review:application=' || id as key
from public.applications_application
where reviewed_by_id = applicant_id;
select integrity.add_rule('self_review', 'warning', 'self-reviews', 'Nobody reviews themselves.');
insert into integrity.law (name, relation, kind, definition, rules)
values (
  'integrity_applicant_is_not_reviewer', 'applications_application', 'check',
  'check (reviewed_by_id is distinct from applicant_id)', array['self_review']
);
"""


@pytest.fixture
def all_enforced(migrated_server: NoopExecutor) -> Iterator[_Connection]:
    """Yield a database where everything is enforced that is on request, a rule of one's own too."""

    def enforce(connection: _Connection) -> None:
        connection.execute(VIEW)
        for rule in (*RULES, "self_review"):
            assert cli.run(connection, "enforce", rule).code == 0

    with prepared(migrated_server, "all_enforced", enforce) as (connection, _):
        yield connection


def _review_oneself(connection: _Connection) -> None:
    user_id = factory.user(connection)
    factory.application(connection, factory.quest(connection), user_id, reviewed_by_id=user_id)
    connection.commit()


def test_a_rule_of_ones_own(migrated: _Connection) -> None:
    migrated.execute(VIEW)
    migrated.commit()
    assert wrong_guards(migrated) == {}
    assert _listed(migrated, "self_review")["enforced"] == "on request: no"

    assert cli.run(migrated, "enforce", "self_review").code == 0
    with pytest.raises(errors.CheckViolation) as refused:
        _review_oneself(migrated)
    assert refused.value.diag.constraint_name == "integrity_applicant_is_not_reviewer"
    migrated.rollback()
    assert wrong_guards(migrated) == {}
    migrated.execute("alter table applications_application drop constraint integrity_applicant_is_not_reviewer")
    migrated.commit()
    assert list(wrong_guards(migrated).values()) == ["missing"]
    assert cli.run(migrated, "guards", "--fix", "--yes").code == 0

    assert cli.run(migrated, "relax", "self_review").code == 0
    _review_oneself(migrated)
    assert wrong_guards(migrated) == {}
    migrated.execute("delete from integrity.law where name = 'integrity_applicant_is_not_reviewer'")
    migrated.execute("delete from integrity.rule where rule = 'self_review'")
    migrated.execute("select integrity.assemble_violations(); drop view integrity.self_review")
    migrated.commit()
    assert wrong_guards(migrated) == {}


def test_what_the_package_writes_is_compared_without_them(all_enforced: _Connection) -> None:
    with another(all_enforced, autocommit=True) as session:
        assert guards.differences(session) == []


def test_autogenerate_does_not_drop_it(all_enforced: _Connection) -> None:
    alembic.command.check(migrate.config(target_of(all_enforced)))


def test_relaxing_waits_for_writers_in_short_attempts(enforced: _Connection) -> None:
    factory.application(enforced, factory.quest(enforced), factory.user(enforced))
    with another(enforced, autocommit=True) as session, pytest.raises(errors.LockNotAvailable):
        law.change(session, ddl.LockPolicy(timeout=0.1, retries=2), "rule", "relax", "duplicate_pending")
    enforced.commit()
    assert _state(enforced, "duplicate_pending") == "enforced"
    assert cli.run(enforced, "relax", "duplicate_pending").code == 0
