"""The ready-made schedules in docs/schedules: each is sound by its own program's rules, and calls what there is."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import psycopg
import pytest
import typer.main
import yaml

from checks.cli import app
from tests.support.cli import PROGRAM

ROOT = Path(__file__).resolve().parents[2]
SCHEDULES = ROOT / "docs" / "schedules"
NAMES = sorted(path.name for path in SCHEDULES.iterdir())
COMMANDS = typer.main.get_command(app)
CRON_LINE = re.compile(r"^(?:[\d*/]+ +){5}\w+ +(?P<command>\S.*)$")


def commands(text: str) -> list[list[str]]:
    """Return the arguments of every call of quest-integrity: on a line by itself, or as a list."""
    lines = re.findall(r"^(?!#).*?\bquest-integrity ([a-z]+\b.*)$", text, re.M)
    lists = re.findall(r"\[quest-integrity, (.*)\]", text)
    return [shlex.split(line) for line in lines] + [listed.split(", ") for listed in lists]


def check(arguments: list[str]) -> None:
    """Parse a command line as the program would, without running it."""
    context = COMMANDS.make_context("quest-integrity", list(arguments), resilient_parsing=False)
    name, command, rest = COMMANDS.resolve_command(context, arguments)  # type: ignore[attr-defined]
    command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith((".sql", ".timer"))])
def test_the_commands_exist(name: str) -> None:
    found = commands((SCHEDULES / name).read_text())
    assert found
    for arguments in found:
        check(arguments)


@pytest.mark.parametrize("arguments", [["audits"], ["audit", "--recrod"], ["report"]])
def test_it_would_notice(arguments: list[str]) -> None:
    with pytest.raises(Exception, match=r"(?i)no such|missing"):
        check(arguments)


def test_crontab() -> None:
    lines = [line for line in (SCHEDULES / "crontab").read_text().splitlines() if line and line[0] != "#"]
    for line in lines:
        assert re.match(r"[A-Z_]+=", line) or CRON_LINE.match(line), line
        # Cron takes a percent sign for the end of the line.
        assert "%" not in line


def test_systemd(tmp_path: Path) -> None:
    if (program := shutil.which("systemd-analyze")) is None:
        pytest.skip("there is no systemd-analyze here")
    for name in ("quest-integrity.service", "quest-integrity.timer"):
        text = (SCHEDULES / name).read_text()
        # What it is about is the unit, not who and what is installed here.
        text = text.replace("/opt/quest-integrity/bin/quest-integrity", str(PROGRAM)).replace("User=quest", "User=root")
        (tmp_path / name).write_text(text)
    units = sorted(map(str, tmp_path.iterdir()))
    done = subprocess.run([program, "verify", "--man=no", *units], capture_output=True, text=True, timeout=60)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "quest-integrity" in line]) == (0, [])
    when = re.search(r"OnCalendar=(.*)", (SCHEDULES / "quest-integrity.timer").read_text())
    assert when is not None
    subprocess.run([program, "calendar", when[1]], check=True, capture_output=True, timeout=60)


def test_kubernetes() -> None:
    found = yaml.safe_load((SCHEDULES / "cronjob.yaml").read_text())
    kubernetes_validate.validate(found, "1.30", strict=True)
    found["spec"]["shedule"] = found["spec"].pop("schedule")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(found, "1.30", strict=True)


def test_containerfile() -> None:
    """By hadolint's rules; as the same user, and with a root as read-only, as Kubernetes is told to run it."""
    linted = [PROGRAM.with_name("hadolint"), "--no-color", ROOT / "Containerfile"]
    done = subprocess.run(linted, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")
    job = yaml.safe_load((SCHEDULES / "cronjob.yaml").read_text())["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    user = job["securityContext"]["runAsUser"]
    assert f"USER {user}:{user}" in (ROOT / "Containerfile").read_text().splitlines()
    assert [container["securityContext"]["readOnlyRootFilesystem"] for container in job["containers"]] == [True]


@pytest.mark.parametrize(
    ("name", "schema"), [("github-actions.yml", "vendor.github-workflows"), ("gitlab-ci.yml", "vendor.gitlab-ci")]
)
def test_ci(name: str, schema: str) -> None:
    options = ["--builtin-schema", schema, *(["--data-transform", "gitlab-ci"] if "gitlab" in schema else [])]
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *options, SCHEDULES / name],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_pg_cron(migrated: psycopg.Connection[Any]) -> None:
    scheduled = re.findall(r"'(\S+ \S+ \S+ \S+ \S+)', \$\$(.*?)\$\$, '\w+'", (SCHEDULES / "pg_cron.sql").read_text())
    assert len(scheduled) == 3
    for _, statement in scheduled:
        migrated.execute(statement)
    assert migrated.execute("select count(*) from integrity.audit_run").fetchone() == (1,)


def test_every_schedule_is_in_the_document() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    assert [name for name in NAMES if f"(schedules/{name})" not in text] == []
