"""integrity.add_rule(): a user's own rule, one view of theirs, counts like the layer's."""

from typing import Any

import psycopg
import pytest
from psycopg import errors

from checks import migrate
from tests.support import factory
from tests.support.database import target_of
from tests.support.proof import attach, repair, rows, rules_broken

_Connection = psycopg.Connection[Any]

OWN_RULE = """
    create view integrity.reviewed_by_applicant as
    select
      'reviewed_by_applicant'::text as rule,
      'error'::text as severity,
      application.quest_id,
      application.applicant_id as user_id,
      application.id as application_id,
      null::bigint as participant_id,
      'somebody reviewed their own application'::text as message,
      '{}'::jsonb as expected,
      jsonb_build_object('reviewed_by_id', application.reviewed_by_id) as found,
      null::text as repair,
      'reviewed_by_applicant:application=' || application.id as key
    from applications_application as application
    where application.reviewed_by_id = application.applicant_id
"""
ADD = "select integrity.add_rule('reviewed_by_applicant', %s, 'self-reviews', 'Nobody reviews themselves.')"


def _break(connection: _Connection) -> int:
    user_id = factory.user(connection)
    return factory.application(connection, factory.quest(connection), user_id, reviewed_by_id=user_id)


def test_own_rule_shows_in_violations_and_summary(rules: _Connection) -> None:
    rules.execute(OWN_RULE)
    rules.execute(ADD, ["error"])
    assert rules_broken(rules) == {}

    application_id = _break(rules)

    assert [row["application_id"] for row in rows(rules, "violations")] == [application_id]
    summary = rules.execute("select rule, category, violations from integrity.violation_summary").fetchall()
    # After the layer's own.
    assert summary[-1] == ("reviewed_by_applicant", "self-reviews", 1)


def test_shipped_rules_stay(rules: _Connection) -> None:
    before = rules.execute("select rule, severity, category from integrity.rule order by position").fetchall()
    rules.execute(OWN_RULE)
    rules.execute(ADD, ["error"])
    after = rules.execute("select rule, severity, category from integrity.rule order by position").fetchall()
    assert after[:-1] == before


def test_added_twice_it_is_there_once_with_the_later_words(rules: _Connection) -> None:
    rules.execute(OWN_RULE)
    rules.execute(ADD, ["error"])
    rules.execute(ADD, ["warning"])
    _break(rules)
    found = rules.execute("select severity from integrity.rule where rule = 'reviewed_by_applicant'").fetchall()
    assert found == [("warning",)]
    assert len(rows(rules, "violations")) == 1


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(None, id="no_view"),
        pytest.param(OWN_RULE.replace("null::text as repair,", ""), id="column_missing"),
        pytest.param(OWN_RULE.replace("as repair", "as mend"), id="column_misnamed"),
        pytest.param(OWN_RULE.replace("application.quest_id,", "application.quest_id::integer,"), id="other_type"),
        pytest.param(OWN_RULE.replace("as key", "as key, 1 as more"), id="column_too_many"),
        pytest.param(
            OWN_RULE.replace("null::text as repair,", "").replace(
                "'error'::text", "null::text as repair, 'error'::text"
            ),
            id="other_order",
        ),
    ],
)
def test_view_that_breaks_the_contract_is_refused(view: str | None, rules: _Connection) -> None:
    assert view != OWN_RULE
    if view is not None:
        rules.execute(view)
    with pytest.raises(errors.UndefinedTable) as refusal, rules.transaction():
        rules.execute(ADD, ["error"])
    assert (refusal.value.diag.schema_name, refusal.value.diag.table_name) == ("integrity", "reviewed_by_applicant")
    assert rules.execute("select from integrity.rule where rule = 'reviewed_by_applicant'").fetchall() == []


def test_severity_must_be_known(rules: _Connection) -> None:
    rules.execute(OWN_RULE)
    with pytest.raises(errors.CheckViolation) as refusal:
        rules.execute(ADD, ["fatal"])
    assert refusal.value.diag.constraint_name == "rule_severity_known"


def test_name_that_needs_quotes(rules: _Connection) -> None:
    rules.execute(
        OWN_RULE.replace("reviewed_by_applicant", '"Self; review"', 1).replace("reviewed_by_applicant", "Self; review")
    )
    rules.execute("select integrity.add_rule('Self; review', 'error', 'self-reviews', 'Nobody reviews themselves.')")
    _break(rules)
    assert rules_broken(rules) == {"Self; review": 1}


def test_own_rule_survives_the_upgrade_and_is_left_to_a_person(unattached: _Connection) -> None:
    unattached.execute(OWN_RULE)
    unattached.execute(ADD, ["error"])
    _break(unattached)
    attach(unattached)
    assert rules_broken(unattached) == {"reviewed_by_applicant": 1}
    assert repair(unattached) == {}


def test_own_rules_go_with_the_layer(unattached: _Connection) -> None:
    """Their views are in our schema and part of our union; a downgrade must not stop half-way over them."""
    unattached.execute(OWN_RULE)
    unattached.execute(ADD, ["error"])
    unattached.execute(
        "create view integrity.reviewed_by_applicant_lately as"
        " select * from integrity.reviewed_by_applicant where application_id > 1000"
    )
    unattached.execute(
        "select integrity.add_rule('reviewed_by_applicant_lately', 'error', 'self-reviews', 'As before, lately.')"
    )
    attach(unattached)
    migrate.downgrade(target_of(unattached), "base")
    assert unattached.execute("select to_regnamespace('integrity')").fetchone() == (None,)


def test_what_else_a_user_keeps_in_the_schema_stays(unattached: _Connection) -> None:
    unattached.execute("create table integrity.notes (note text)")
    attach(unattached)
    migrate.downgrade(target_of(unattached), "base")
    left = unattached.execute("select relname from pg_class where relnamespace = 'integrity'::regnamespace")
    assert left.fetchall() == [("notes",)]
    unattached.commit()
    migrate.upgrade(target_of(unattached))
    assert rules_broken(unattached) == {}
