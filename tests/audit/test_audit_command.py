"""quest-integrity audit: what it finds, how it ends, and what it writes where."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support import factory
from tests.support.cli import Terminal, blocked, finish, run, spawn
from tests.support.database import another, url_of

_Connection = psycopg.Connection[Any]


def audited(connection: _Connection, *arguments: object) -> dict[str, Any]:
    """Return the result as its JSON says it."""
    found: dict[str, Any] = json.loads(run(connection, "audit", "--format", "json", *arguments).out)
    return found


def broken(result: dict[str, Any]) -> dict[str, int]:
    """Return the rules with violations of severity error, and how many."""
    return {each["rule"]: each["violations"] for each in result["rules"] if each["violations"]}


class TestTheIncident:
    def test_sync_001(self, sync_001: _Connection) -> None:
        result = audited(sync_001)
        assert broken(result) == {"approved_without_participant": 1, "open_quest_with_approval": 1}
        assert {violation["quest_id"] for violation in result["violations"]} == {5}
        assert {violation["user_id"] for violation in result["violations"]} == {"483ab258-e434-44f3-9da2-73409dd55f55"}
        assert (result["totals"]["applications"], result["totals"]["participants"]) == (2, 1)

    def test_audit_001(self, audit_001: _Connection) -> None:
        result = audited(audit_001)
        assert broken(result) == {"approved_without_participant": 3, "unassigned_quest_with_participant": 2}
        categories = {each["category"]: each["violations"] for each in result["rules"]}
        assert [
            categories[category]
            for category in (
                "approved applications without participant records",
                "quest assignment inconsistencies",
                "participants without approved applications",
                "quest status inconsistencies",
                "duplicate participants",
            )
        ] == [3, 2, 0, 0, 0]
        for username, issues in (("student1", 1), ("student2", 3), ("student3", 1)):
            assert len(audited(audit_001, "--user", username)["violations"]) == issues

    @pytest.mark.parametrize("state", ["sync_001", "audit_001"])
    def test_repaired_and_enforced(self, state: str, request: pytest.FixtureRequest) -> None:
        connection: _Connection = request.getfixturevalue(state)
        assert run(connection, "audit").code == 1
        assert run(connection, "validate").code == 1
        assert run(connection, "audit", "--fix-issues", "--yes", "--missing-participant", "create").code == 0
        assert run(connection, "audit").code == 0
        assert run(connection, "validate").code == 0
        state_of_law = connection.execute(
            "select distinct state from integrity.law_status where chosen is null"
        ).fetchall()
        assert state_of_law == [("enforced",)]

    def test_the_log_s_state_after_the_fix(self, sync_001: _Connection) -> None:
        run(sync_001, "audit", "--fix-issues", "--yes", "--missing-participant", "create")
        quest = sync_001.execute(
            "select quest.status, person.username, participant.status, count(*) over () from quests_quest as quest"
            " inner join users_user as person on quest.assigned_to_id = person.id"
            " inner join quests_questparticipant as participant on participant.quest_id = quest.id"
            " where quest.id = 5"
        ).fetchall()
        assert quest == [("in-progress", "admin", "joined", 1)]


class TestExitCode:
    def test_clean(self, migrated: _Connection) -> None:
        factory.application(migrated, factory.quest(migrated), factory.user(migrated), status="approved")
        ran = run(migrated, "audit")
        assert ran.code == 0

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            ((), 1),
            (("--fail-on", "error"), 1),
            (("--fail-on", "warning"), 1),
            (("--fail-on", "never"), 0),
            (("--rule", "duplicate_pending"), 0),
            (("--rule", "duplicate_pending", "--fail-on", "warning"), 1),
            (("--rule", "duplicate_pending", "--rule", "unknown_status"), 1),
        ],
    )
    @pytest.mark.parametrize("form", ["table", "junit"])
    def test_by_what_counts(self, dirty: _Connection, arguments: tuple[str, ...], code: int, form: str) -> None:
        assert run(dirty, "audit", "--format", form, *arguments).code == code

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            (["audit", "--user", "nobody-here"], "nobody-here"),
            (["audit", "--user", ""], "''"),
            (["audit", "--quest", "4711"], "4711"),
            (["audit", "--quest", "99999999999999999999999"], "99999999999999999999999"),
            (["audit", "--rule", "no_such_rule"], "no_such_rule"),
            (["audit", "--rule", "duplicate_pending'; drop"], "drop"),
            (["audit", "--format", "xml"], "xml"),
            (["audit", "--fail-on", "sometimes"], "sometimes"),
            (["audit", "--dry-run"], "--fix-issues"),
            (["audit", "--fix-issues"], "--yes"),
            (["audit", "--fix-issues", "--yes", "--missing-participant", "ignore"], "ignore"),
            (["audit", "--fix-issues", "--yes", "--limit", "0"], "--limit"),
            (["audit", "--fix-issues", "--yes", "--batch-size", "0"], "--batch-size"),
            (["audit", "--output", "/nowhere/at/all"], "/nowhere/at/all"),
            (["audit", "--output", "/"], "/"),
            (["audit", "--output", "/dev/full"], "/dev/full"),
            (["audit", "--no-such-option"], "--no-such-option"),
            (["explain", "no_such_rule"], "no_such_rule"),
            (["explain", "no_such_rule:quest=1"], "no_such_rule:quest=1"),
            (["explain", "duplicate_pending:quest=4711"], "duplicate_pending:quest=4711"),
            (["undo", "4711"], "4711"),
            (["undo", "99999999999999999999999"], "99999999999999999999999"),
            (["undo", "first"], "RUN"),
            (["no-such-command"], "no-such-command"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_could_not_run(self, migrated: _Connection, arguments: list[str], named: str) -> None:
        ran = run(migrated, *arguments)
        assert ran.code == 2
        assert named in ran.err
        assert ran.out == ""
        assert migrated.execute("select count(*) from integrity.repair_run").fetchone() == (0,)


class TestScope:
    def test_of_a_quest(self, dirty: _Connection) -> None:
        (quest_id,) = dirty.execute("select quest_id from integrity.duplicate_approval").fetchone() or (0,)
        result = audited(dirty, "--quest", quest_id)
        assert broken(result) == {"duplicate_approval": 1}
        assert result["scope"] == {"user": None, "quest": quest_id, "rules": None}
        assert result["totals"] == {"users": 1, "quests": 1, "applications": 2, "participants": 1}

    def test_of_a_user(self, dirty: _Connection) -> None:
        user_id, username = dirty.execute(
            "select person.id, username from integrity.duplicate_pending inner join users_user as person"
            " on user_id = person.id"
        ).fetchone() or (None, "")
        result = audited(dirty, "--user", username)
        assert broken(result) == {"duplicate_pending": 1}
        assert result["scope"]["user"] == str(user_id)
        assert result["totals"] == {"users": 1, "quests": 1, "applications": 2, "participants": 0}

    def test_of_rules(self, dirty: _Connection) -> None:
        result = audited(dirty, "--rule", "unknown_status", "--rule", "duplicate_participant")
        assert [each["rule"] for each in result["rules"]] == ["duplicate_participant", "unknown_status"]
        assert broken(result) == {"duplicate_participant": 1, "unknown_status": 3}


class TestSeverities:
    @pytest.fixture
    def project(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Work two folders below the pyproject.toml of a project that has yet to be written."""
        below = tmp_path / "src" / "deep"
        below.mkdir(parents=True)
        monkeypatch.chdir(below)
        return tmp_path / "pyproject.toml"

    def test_overridden(self, dirty: _Connection, project: Path) -> None:
        project.write_text(
            '[tool.quest-integrity.severity]\nduplicate_pending = "error"\nunknown_status = "warning"\n'
            'approved_without_participant = "off"\n'
        )
        result = audited(dirty)
        severities = {each["rule"]: each["severity"] for each in result["rules"]}
        assert "approved_without_participant" not in severities
        assert (severities["duplicate_pending"], severities["unknown_status"]) == ("error", "warning")
        for violation in result["violations"]:
            assert violation["severity"] == severities[violation["rule"]]
        assert run(dirty, "audit", "--rule", "unknown_status").code == 0
        assert run(dirty, "audit", "--rule", "duplicate_pending").code == 1

    def test_a_rule_that_is_off_is_not_repaired(self, dirty: _Connection, project: Path) -> None:
        project.write_text('[tool.quest-integrity.severity]\nduplicate_approval = "off"\n')
        run(dirty, "audit", "--fix-issues", "--yes", "--missing-participant", "create")
        rules = dirty.execute("select distinct rule from integrity.repair_item").fetchall()
        assert len(rules) > 5
        assert ("duplicate_approval",) not in rules
        assert dirty.execute("select count(*) from integrity.duplicate_approval").fetchone() == (1,)

    @pytest.mark.parametrize(
        ("text", "named"),
        [
            ("[tool.quest-integrity.severity\n", "pyproject.toml"),
            ('[tool.quest-integrity.severity]\nunknown_status = "fatal"\n', "fatal"),
            ("[tool.quest-integrity.severity]\nunknown_status = [1]\n", "unknown_status"),
            ("[tool.quest-integrity]\nseverity = 3\n", "severity"),
            ("[tool.quest-integrity]\nseverities = {}\n", "severities"),
            ("[tool]\nquest-integrity = 3\n", "pyproject.toml"),
            ("tool = 3\n", "pyproject.toml"),
            ('[tool.quest-integrity.severity]\nno_such_rule = "off"\n', "no_such_rule"),
            (b"\xff\xfe", "pyproject.toml"),
        ],
        ids=repr,
    )
    @pytest.mark.parametrize("command", [["audit"], ["audit", "--fix-issues", "--yes"], ["rules"]], ids=" ".join)
    def test_malformed(
        self, migrated: _Connection, project: Path, text: str | bytes, named: str, command: list[str]
    ) -> None:
        project.write_bytes(text if isinstance(text, bytes) else text.encode())
        ran = run(migrated, *command)
        assert (ran.code, ran.out) == (2, "")
        assert named in ran.err


class TestStreams:
    def test_stdout_holds_the_result_and_nothing_else(self, dirty: _Connection) -> None:
        ran = run(dirty, "audit", "--format", "ndjson", "--fix-issues", "--dry-run")
        kinds = [json.loads(line)["type"] for line in ran.out.splitlines()]
        assert kinds[0] == "audit"
        assert set(kinds[1:]) == {"change", "violation"}
        assert url_of(dirty).rsplit("/", 1)[1].split("?")[0] in ran.err.splitlines()[0]

    def test_plain_when_piped(self, dirty: _Connection) -> None:
        dirty.commit()
        ran = finish(spawn(url_of(dirty), "audit", "--detailed", env=os.environ | {"TERM": "xterm-256color"}))
        assert ran.code == 1
        assert "\x1b" not in ran.out + ran.err
        # One line each, however long.
        listed = [line for line in ran.out.splitlines() if "; repair: " in line]
        assert len(listed) == dirty.execute("select count(*) from integrity.violations").fetchone()[0]  # type: ignore[index]
        rules = {row[0] for row in dirty.execute("select rule from integrity.rule where severity <> 'off'")}
        assert rules <= {line.split()[0] for line in ran.out.splitlines() if line}

    def test_coloured_in_a_terminal(self, dirty: _Connection) -> None:
        dirty.commit()
        terminal = Terminal(url_of(dirty), "audit")
        assert terminal.finish() == 1
        assert "\x1b[1;31m" in terminal.text

    def test_no_color(self, dirty: _Connection) -> None:
        dirty.commit()
        terminal = Terminal(url_of(dirty), "audit", environment={"NO_COLOR": "1"})
        assert terminal.finish() == 1
        assert "approved_without_participant" in terminal.text
        assert "\x1b[1;31m" not in terminal.text
        assert "\x1b[33m" not in terminal.text

    @pytest.mark.parametrize(
        "arguments",
        [
            ("audit", "--detailed"),
            ("audit", "--format", "json"),
            ("audit", "--format", "junit"),
            ("rules",),
            ("explain", "unknown_status"),
            ("repairs", "--format", "json"),
        ],
        ids=" ".join,
    )
    def test_a_closed_pipe(self, dirty: _Connection, arguments: tuple[str, ...]) -> None:
        dirty.commit()
        reading, writing = os.pipe()
        os.close(reading)
        process = spawn(url_of(dirty), *arguments, stdout=writing)
        os.close(writing)
        ran = finish(process)
        assert ran.code == 2
        assert "standard output" in ran.err
        assert "Traceback" not in ran.err
        assert "Exception ignored" not in ran.err

    def test_a_reader_that_stops_after_a_line(self, dirty: _Connection) -> None:
        """As `| head -1` does: the rest of the output is more than a pipe holds."""
        dirty.execute("update integrity.rule set category = repeat('x', 200000) where rule = 'unknown_status'")
        dirty.commit()
        process = spawn(url_of(dirty), "audit", "--format", "ndjson")
        assert process.stdout is not None
        os.read(process.stdout.fileno(), 1)
        process.stdout.close()
        process.stdout = None
        assert finish(process).code == 2

    def test_a_full_disk(self, dirty: _Connection) -> None:
        dirty.commit()
        with Path("/dev/full").open("w") as full:
            ran = finish(spawn(url_of(dirty), "audit", stdout=full))
        assert ran.code == 2
        assert "standard output" in ran.err
        assert "Traceback" not in ran.err
        assert "Exception ignored" not in ran.err

    def test_interrupted_while_it_reads(self, dirty: _Connection) -> None:
        dirty.commit()
        with (
            another(dirty) as holder,
            blocked(holder, dirty, "lock table quests_quest", "audit") as process,
        ):
            process.send_signal(signal.SIGINT)
            ran = finish(process)
        assert ran.code == 130
        assert ran.out == ""
        assert "Traceback" not in ran.err


class TestOutput:
    def test_appears_whole_or_not_at_all(self, dirty: _Connection, tmp_path: Path) -> None:
        dirty.commit()
        output = tmp_path / "audit.json"
        output.write_text("yesterday's")
        with (
            another(dirty) as holder,
            blocked(
                holder, dirty, "lock table quests_quest", "audit", "--format", "json", "--output", output
            ) as process,
        ):
            dirty.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'quest-integrity'"
                " and datname = current_database()"
            )
            ran = finish(process)
        assert ran.code == 2
        assert "Traceback" not in ran.err
        assert output.read_text() == "yesterday's"
        assert list(tmp_path.iterdir()) == [output]

    def test_is_what_stdout_would_get(self, dirty: _Connection, tmp_path: Path) -> None:
        output = tmp_path / "audit.csv"
        ran = run(dirty, "audit", "--format", "csv", "--output", output)
        assert (ran.code, ran.out) == (1, "")
        assert output.read_text() == run(dirty, "audit", "--format", "csv").out

    def test_follows_a_link(self, dirty: _Connection, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "real" / "audit.txt")
        run(dirty, "audit", "--output", tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert "unknown_status" in (tmp_path / "real" / "audit.txt").read_text()

    def test_leaves_a_device_a_device(self, dirty: _Connection) -> None:
        assert run(dirty, "audit", "--output", "/dev/null").code == 1
        assert Path("/dev/null").is_char_device()

    def test_into_a_pipe(self, dirty: _Connection, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True)
        assert run(dirty, "audit", "--output", pipe).code == 1
        assert "unknown_status" in reader.communicate(timeout=30)[0]
        assert pipe.is_fifo()


def test_a_user_s_own_rule_is_counted_listed_and_chosen(migrated: _Connection) -> None:
    migrated.execute(
        "create view integrity.untitled_quest as select 'untitled_quest'::text as rule, 'warning'::text as severity,"
        " id as quest_id, null::uuid as user_id, null::bigint as application_id, null::bigint as participant_id,"
        " 'no title' as message, '{}'::jsonb as expected, '{}'::jsonb as found, null::text as repair,"
        " 'untitled_quest:quest=' || id as key from public.quests_quest where title = ''"
    )
    migrated.execute(
        "select integrity.add_rule('untitled_quest', 'warning', 'quests without a title', 'A quest has one.')"
    )
    factory.quest(migrated, title="")
    assert run(migrated, "audit", "--rule", "untitled_quest", "--fail-on", "warning").code == 1
    assert broken(audited(migrated)) == {"untitled_quest": 1}
    assert run(migrated, "explain", "untitled_quest").code == 0
