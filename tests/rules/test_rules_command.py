"""quest-integrity rules and explain, and docs/rules.md, which says the same."""

import os
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.support import factory, plant
from tests.support.cli import run
from tests.support.database import url_of
from tests.support.proof import CREATE

_Connection = psycopg.Connection[Any]


def one(connection: _Connection, query: str, *parameters: object) -> Any:
    row = connection.execute(query.encode(), parameters or None).fetchone()
    assert row is not None
    return row[0]


class TestRules:
    def test_with_their_counts(self, dirty: _Connection) -> None:
        ran = run(dirty, "rules")
        assert ran.code == 0
        rows = [line.split() for line in ran.out.splitlines()]
        for rule, severity, violations in dirty.execute(
            "select rule, severity, violations from integrity.violation_summary"
        ):
            assert any(row[:3] == [rule, severity, str(violations)] for row in rows)

    def test_with_the_project_s_severities(
        self, dirty: _Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "pyproject.toml").write_text(
            '[tool.quest-integrity.severity]\nduplicate_pending = "error"\nunknown_status = "off"\n'
        )
        monkeypatch.chdir(tmp_path)
        rows = {line.split()[0]: line.split()[1] for line in run(dirty, "rules").out.splitlines()}
        assert (rows["duplicate_pending"], rows["unknown_status"]) == ("error", "off")
        assert "duplicate_pending (error;" in run(dirty, "explain", "duplicate_pending").out


class TestExplainRule:
    @pytest.mark.parametrize("rule", plant.RULES)
    def test_says_all_there_is(self, dirty: _Connection, rule: str) -> None:
        ran = run(dirty, "explain", rule)
        assert ran.code == 0
        meaning, broken_by = dirty.execute(
            "select meaning, broken_by from integrity.rule where rule = %s", [rule]
        ).fetchone() or ("", "")
        assert broken_by
        for said in (meaning, broken_by, f"select * from integrity.{rule};"):
            assert said in ran.out
        for (name,) in dirty.execute("select name from integrity.law where %s = any(rules)", [rule]):
            assert name in ran.out


class TestExplainKey:
    def test_its_rows_and_their_history(self, sync_001: _Connection) -> None:
        user_id = factory.user(sync_001, username="ben")
        application_id = factory.application(sync_001, 5, user_id)
        sync_001.execute("update applications_application set status = 'approved' where id = %s", [application_id])
        key = one(sync_001, "select key from integrity.approved_without_participant")
        ran = run(sync_001, "explain", key)
        assert ran.code == 0
        lines = ran.out.splitlines()
        assert "quest 5  Test 1.1" in lines
        assert f"public.quests_quest id 5: status in-progress, assigned_to_id ben ({user_id})" in lines
        row = f"public.applications_application id {application_id}: status approved, applicant_id ben ({user_id})"
        assert row in lines
        assert any("application_approved" in line for line in lines)

    @pytest.mark.parametrize("rule", sorted(plant.RULES))
    def test_the_statements_repair_it_in_psql(self, dirty: _Connection, rule: str) -> None:
        key, repair = dirty.execute(
            f"select key, repair from integrity.{rule} order by repair nulls last limit 1".encode()
        ).fetchone() or ("", None)
        ran = run(dirty, "explain", key)
        # Where a person has to choose, it is the first of two.
        statements, *_ = [
            line
            for line in ran.out.splitlines()
            if line.startswith(("select integrity.", "-- ")) and not line.startswith("-- no event")
        ]
        repairs = repair is not None or rule == "participant_without_approval"
        assert statements.startswith("select integrity.") == repairs
        dirty.commit()
        subprocess.run(
            ["psql", "-X", "-v", "ON_ERROR_STOP=1", "-d", url_of(dirty), "-c", statements],
            check=True,
            capture_output=True,
            env=os.environ,
        )
        left = dirty.execute(f"select count(*) from integrity.{rule} where key = %s".encode(), [key]).fetchone()
        assert left == (0 if repairs else 1,)
        if repairs:
            assert run(dirty, "repairs").out.count("finished") == 1
            assert (key, "refused") not in dirty.execute("select key, outcome from integrity.repair_item").fetchall()

    def test_a_key_that_needs_quoting(self, migrated: _Connection) -> None:
        migrated.execute(
            "create view integrity.odd_title as select 'odd_title'::text as rule, 'error'::text as severity,"
            " id as quest_id, null::uuid as user_id, null::bigint as application_id, null::bigint as participant_id,"
            " 'odd' as message, '{}'::jsonb as expected, '{}'::jsonb as found, 'blank'::text as repair,"
            " 'odd_title:' || title as key from public.quests_quest where title like '%''%'"
        )
        migrated.execute(
            "create function integrity.repair_odd_title(quests bigint[], keys text[], options jsonb) returns void"
            " language sql begin atomic; update public.quests_quest set title = '' where id = any(quests); end"
        )
        migrated.execute("select integrity.add_rule('odd_title', 'error', 'odd titles', 'No quotes.')")
        factory.quest(migrated, title="it's 5% \\ off")
        ran = run(migrated, "explain", "odd_title:it's 5% \\ off")
        assert ran.code == 0
        (statement,) = [line for line in ran.out.splitlines() if line.strip().startswith("select integrity.")]
        assert migrated.execute(statement.encode()).fetchone() == ("repaired",)

    def test_a_second_time_there_is_nothing_to_repair(self, sync_001: _Connection) -> None:
        key = one(sync_001, "select key from integrity.approved_without_participant")
        assert one(sync_001, "select integrity.repair_violation(%s, 'why', %s)", key, Jsonb(CREATE)) == "repaired"
        with pytest.raises(psycopg.errors.NoDataFound):
            sync_001.execute("select integrity.repair_violation(%s, 'why')", [key])
        sync_001.rollback()
        assert one(sync_001, "select count(*) from integrity.repair_run") == 0
