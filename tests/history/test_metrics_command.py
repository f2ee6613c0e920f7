"""quest-integrity metrics and the alert rules over what it prints."""

import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.support import factory
from tests.support.cli import run

Connection = psycopg.Connection[Any]

MONITORING = Path(__file__).resolve().parents[2] / "docs" / "monitoring"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(connection: Connection) -> Samples:
    ran = run(connection, "metrics")
    assert ran.code == 0
    families = list(text_string_to_metric_families(ran.out))
    assert {family.type for family in families} == {"gauge"}
    assert all(family.documentation for family in families)
    return {(each.name, frozenset(each.labels.items())): each.value for family in families for each in family.samples}


def only(found: Samples, name: str) -> dict[str, float]:
    """Return the samples of a metric with one label, by its value; an unlabelled one as ''."""
    return {
        dict(labels).popitem()[1] if labels else "": value for (each, labels), value in found.items() if each == name
    }


def promtool(*arguments: object, text: str | None = None) -> str:
    if (program := shutil.which("promtool")) is None:
        pytest.skip("there is no promtool here: Debian has it in the package prometheus")
    done = subprocess.run([program, *map(str, arguments)], input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_violations_by_rule_and_severity(sync_001: Connection) -> None:
    found = {
        labels: value for (name, labels), value in samples(sync_001).items() if name == "quest_integrity_violations"
    }
    expected = sync_001.execute("select rule, severity, violations from integrity.violation_summary").fetchall()
    assert found == {frozenset({("rule", rule), ("severity", how)}): number for rule, how, number in expected}
    assert sum(found.values()) == 2
    assert only(samples(sync_001), "quest_integrity_law_unenforced") == {"": 1}


def test_guard_damage(migrated: Connection) -> None:
    assert only(samples(migrated), "quest_integrity_guard_damage") == {"": 0}
    migrated.execute("alter table quests_quest disable trigger integrity_derive_on_update")
    assert only(samples(migrated), "quest_integrity_guard_damage") == {"": 1}


def test_the_last_audit(sync_001: Connection) -> None:
    assert only(samples(sync_001), "quest_integrity_last_audit_timestamp_seconds") == {"": 0}
    assert only(samples(sync_001), "quest_integrity_last_audit_duration_seconds") == {}
    run(sync_001, "audit", "--record")
    found = samples(sync_001)
    assert abs(only(found, "quest_integrity_last_audit_timestamp_seconds")[""] - time.time()) < 60
    assert 0 < only(found, "quest_integrity_last_audit_duration_seconds")[""] < 60


def test_approvals_and_corrections_of_a_day(migrated: Connection) -> None:
    quest, user = factory.quest(migrated), factory.user(migrated)
    factory.application(migrated, quest, user, status="approved")
    # Within one transaction it would only repeat what that had found.
    migrated.commit()
    migrated.execute("set application_name = 'nightly \"import\"'")
    migrated.execute("update quests_quest set status = 'open' where id = %s", [quest])
    migrated.execute(
        "insert into integrity.event (at, kind, actor, application_name) "
        "values (now() - interval '2 days', 'quest_write_corrected', 'a', 'long gone')"
    )
    found = samples(migrated)
    assert only(found, "quest_integrity_approvals_last_day") == {"": 1}
    assert only(found, "quest_integrity_corrections_last_day") == {'nightly "import"': 1}


def test_clients_cannot_make_more_series_than_anybody_reads(migrated: Connection) -> None:
    migrated.execute(
        "insert into integrity.event (kind, actor, application_name) "
        "select 'quest_write_corrected', 'a', 'client ' || number from generate_series(1, 500) as number"
    )
    found = only(samples(migrated), "quest_integrity_corrections_last_day")
    assert (len(found), found["all others"], sum(found.values())) == (21, 480, 500)


def test_a_file_for_node_exporter(sync_001: Connection, tmp_path: Path) -> None:
    file = tmp_path / "quest_integrity.prom"
    ran = run(sync_001, "metrics", "--format", "text", "--output", file)
    assert (ran.code, ran.out) == (0, "")
    assert list(tmp_path.iterdir()) == [file]
    assert 'quest_integrity_violations{rule="approved_without_participant",severity="error"} 1.0' in file.read_text()
    assert promtool("check", "metrics", text=file.read_text()) == ""


def test_a_database_that_is_not_migrated(empty: Connection, tmp_path: Path) -> None:
    ran = run(empty, "metrics", "--output", tmp_path / "file")
    assert (ran.code, ran.out) == (2, "")
    assert "not migrated" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_alert_rules_are_sound() -> None:
    assert "10 rules found" in promtool("check", "rules", MONITORING / "alerts.yml")


def test_alerts_go_off_when_they_should() -> None:
    assert "SUCCESS" in promtool("test", "rules", MONITORING / "alerts.test.yml")


def test_alert_rules_know_the_metrics(sync_001: Connection) -> None:
    run(sync_001, "audit", "--record")
    sync_001.execute(
        "insert into integrity.event (kind, actor, application_name) values ('quest_write_corrected', 'a', 'b')"
    )
    named = set(re.findall(r"quest_integrity_\w+", (MONITORING / "alerts.yml").read_text()))
    printed = {name for name, _ in samples(sync_001)}
    assert named <= printed
    # One number is there to be looked at, without an alert.
    assert printed - named == {"quest_integrity_approvals_last_day"}
