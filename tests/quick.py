"""What `make quick` runs: of every part of the layer, and of every command and format, one test.

Which test fails without a constraint, trigger, rule or repair is not said here: `make mutants` has found it out.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support import plant

KILLERS = Path(__file__).with_name("mutants") / "killers.json"
# The mutants that leave nothing of a part.
GONE = re.compile(
    r"(?P<constraint>constraint integrity_\w+ on public\.\w+): dropped"
    r"|(?P<trigger>trigger integrity_\w+ on \w+\.\w+): dropped"
    rf"|view integrity\.(?P<rule>{'|'.join(plant.RULES)}): that finds nothing"
    rf"|function integrity\.repair_(?P<repair>{'|'.join(plant.RULES)})\(.*\): emptied"
)

EVENTS, GUARDS, HISTORY, FORMATS = (
    "tests/events/test_events_command.py::TestForm::",
    "tests/guards/test_guards.py::TestCommand::",
    "tests/history/test_history_command.py::TestShown::",
    "tests/runner/test_formats.py::",
)
RECORDS = "tests/runner/test_records.py::test_records_are_as_the_schema_says_in_every_format"
ON_REQUEST = "tests/law/test_on_request.py::test_refused_with_triggers_disabled"
ENFORCED = "tests/law/test_enforce_command.py::test_enforced_and_relaxed"
UNAPPROVED = "tests/repair/test_unapproved.py::test_repaired_and_undone"
TRUNCATE = "tests/law/test_truncate.py::test_truncate_of_what_it_does_not_name_is_refused"
BY_HAND = {
    **{
        f"{command} --format {form}": f"{RECORDS}[{'explain_rule' if command == 'explain' else command}]"
        for command in ("rules", "explain", "repairs", "statuses")
        for form in ("json", "ndjson", "csv")
    },
    "trigger integrity_truncate_by_name on public.quests_quest": f"{TRUNCATE}[participants]",
    "trigger integrity_truncate_by_name on public.applications_application": f"{TRUNCATE}[quests]",
    # Without it a partition's own still refuses: no test can tell.
    "trigger integrity_append_only_truncate on integrity.event": (
        "tests/events/test_event_log.py::TestAppendOnly::test_no_change_is_accepted[integrity.event-origin-truncate {}]"
    ),
    **{
        f"constraint {name} on public.{table}": f"{ON_REQUEST}[{case}]"
        for name, table, case in (
            ("integrity_participant_has_approved_application", "quests_questparticipant", "direct_join"),
            ("integrity_pending_application_key", "applications_application", "applied_twice"),
            ("integrity_quest_has_one_participant", "quests_questparticipant", "second_participant"),
        )
    },
    "rule quest_with_several_participants": "tests/rules/test_quest_with_several_participants.py::test_violation",
    "repair participant_without_approval": f"{UNAPPROVED}[approve-expected0]",
    "enforce": f"{ENFORCED}[duplicate_pending]",
    "relax": f"{ENFORCED}[participant_without_approval]",
    "audit": "tests/audit/test_audit_command.py::TestTheIncident::test_sync_001",
    "audit --format table": "tests/audit/test_audit_command.py::TestTheIncident::test_sync_001",
    "audit --format json": f"{FORMATS}TestJson::test_a_document[plain]",
    "audit --format ndjson": f"{FORMATS}TestJson::test_every_line[plain]",
    "audit --format csv": f"{FORMATS}TestCsv::test_round_trip[dirty]",
    "audit --format junit": f"{FORMATS}TestJunit::test_is_what_a_viewer_reads[error-dirty]",
    "audit --format github": f"{FORMATS}TestGithub::test_point_at_the_file_that_defines_the_rule",
    "validate": "tests/audit/test_audit_command.py::TestTheIncident::test_repaired_and_enforced[sync_001]",
    "events": f"{EVENTS}test_what_an_event_says",
    "events --format table": f"{EVENTS}test_a_line_for_people",
    "events --format json": f"{EVENTS}test_the_same_in_every_form",
    "events --format ndjson": f"{EVENTS}test_the_same_in_every_form",
    "events --format csv": f"{EVENTS}test_the_same_in_every_form",
    "guards": f"{GUARDS}test_all_is_well",
    "guards --format table": f"{GUARDS}test_damage_is_listed_with_what_mends_it_and_mended",
    "guards --format json": f"{GUARDS}test_for_machines",
    "guards --format ndjson": f"{GUARDS}test_for_machines",
    "guards --format csv": f"{GUARDS}test_for_machines",
    "upgrade": "tests/runner/test_migrate.py::test_the_commands",
    "downgrade": "tests/runner/test_migrate.py::test_the_commands",
    "history": f"{HISTORY}test_for_people",
    "history --format table": f"{HISTORY}test_for_people",
    "history --format json": f"{HISTORY}test_the_same_in_every_form",
    "history --format ndjson": f"{HISTORY}test_the_same_in_every_form",
    "history --format csv": f"{HISTORY}test_the_same_in_every_form",
    "metrics": "tests/history/test_metrics_command.py::test_guard_damage",
    "metrics --format openmetrics": "tests/history/test_metrics_command.py::test_guard_damage",
    "metrics --format text": "tests/history/test_metrics_command.py::test_a_file_for_node_exporter",
    "report": "tests/history/test_report_command.py::TestWhatItSays::test_the_diagrams_come_from_the_catalog",
    "repairs": "tests/repair/test_undo_command.py::TestRestores::test_keeps_who_and_why",
    "undo": "tests/repair/test_undo_command.py::TestRestores::test_a_row_that_two_rules_changed",
    "rules": "tests/rules/test_rules_command.py::TestRules::test_with_their_counts",
    "explain": "tests/rules/test_rules_command.py::TestExplainKey::test_its_rows_and_their_history",
    "statuses": "tests/law/test_statuses_command.py::TestList::test_names_each_with_its_meaning",
    "statuses --format table": "tests/law/test_statuses_command.py::TestList::test_names_each_with_its_meaning",
    "rules --format table": "tests/rules/test_rules_command.py::TestRules::test_with_their_counts",
    "explain --format table": "tests/rules/test_rules_command.py::TestExplainKey::test_its_rows_and_their_history",
    "repairs --format table": "tests/repair/test_undo_command.py::TestRestores::test_keeps_who_and_why",
    "detach": "tests/adoption/test_detach.py::test_back_as_it_was",
    "attach": "tests/adoption/test_detach.py::test_back_as_it_was",
    "around": "tests/adoption/test_around.py::test_exit_code_is_the_commands[0]",
    "demo": "tests/runner/test_server_command.py::test_demo",
    "server start": "tests/runner/test_server_command.py::test_from_start_to_stop",
    "server stop": "tests/runner/test_server_command.py::test_from_start_to_stop",
    "server status": "tests/runner/test_server_command.py::test_from_start_to_stop",
    "server url": "tests/runner/test_server_command.py::test_from_start_to_stop",
}


def _parts() -> Iterator[tuple[str, str]]:
    for mutant, killer in json.loads(KILLERS.read_text()).items():
        if found := GONE.fullmatch(mutant):
            kind = found.lastgroup or ""
            named = found[kind]
            yield named if named.startswith(kind) else f"{kind} {named}", killer


# The test of each, by pytest's id.
TESTS = dict(_parts()) | BY_HAND
