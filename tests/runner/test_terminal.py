"""Every command in a real terminal: what can be typed or copied is there whole, and no line is wider than the terminal.

The screens of SYNC-001 at 80 columns are kept in tests/runner/screens, a file each. When a screen changes on purpose,
run `SCREENS=write pytest tests/runner/test_terminal.py` and read the difference.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pytest_postgresql.executors import NoopExecutor
from rich.cells import cell_len

from checks.render import printable
from checks.screens.demo import LESSONS
from tests.support.cli import run
from tests.support.database import copied, url_of
from tests.support.screen import Shown, show

_Connection = psycopg.Connection[Any]
SCREENS = Path(__file__).with_name("screens")
COLOUR = re.compile(r"\x1b\[(?:\d+;)*[349]\d")
CREATE = ("--missing-participant", "create")
# What says most, and of which the layout depends on the width.
WIDE = [
    ("audit", "--detailed"),
    ("audit", "--fix-issues", "--dry-run", *CREATE),
    ("rules",),
    ("explain", "duplicate_participant"),
]

# As long as the column allows: plain, wide, right to left, and with what would command a terminal.
NAMES = ("n" * 150, "名" * 150, "א" * 150, "a\x1b[2J\n\u202e" * 25, "two words " * 15)
TITLE = "Der lange Titel\x1b]0;title\x07 " * 8


@dataclass
class State:
    """A database, and what every screen of a command on it has to show whole, by the command's arguments."""

    connection: _Connection
    calls: dict[tuple[str, ...], set[str]] = field(default_factory=dict)


def column(connection: _Connection, query: str) -> set[str]:
    found = {str(value) for (value,) in connection.execute(query.encode()) if value is not None}
    connection.commit()
    return found


def calls(connection: _Connection) -> dict[tuple[str, ...], set[str]]:
    """Return what people ask, and the names in the answers."""
    rules = column(connection, "select rule from integrity.rule")
    broken = column(connection, "select rule from integrity.violations")
    keys = column(connection, "select key from integrity.violations")
    people = column(connection, "select person from integrity.named_violation")
    people = {name for name in people if name in column(connection, "select username from users_user")}
    repaired = column(
        connection,
        "select person.username from integrity.violations join users_user as person on user_id = person.id"
        " where repair = 'create_participant'",
    )
    guarded = column(
        connection, "select split_part(identity, ' on ', 1) from integrity.guard_status where status <> 'ok'"
    )
    wanted: dict[tuple[str, ...], set[str]] = {
        ("audit",): broken,
        ("audit", "--all"): rules,
        ("audit", "--detailed"): broken | keys | people,
        ("audit", "--fix-issues", "--dry-run", *CREATE): broken | repaired,
        ("rules",): rules,
        ("repairs",): set(),
        ("events",): set(),
        ("history", "--detailed"): set(),
        ("guards",): guarded,
        ("statuses",): {"quests_quest:in-progress", "applications_application:kicked"},
        ("explain", "duplicate_participant"): {"duplicate_participant", "integrity_participant_key"} & rules,
        ("-h",): {"--database-url", "--install-completion"},
        ("audit", "-h"): {"--missing-participant", "--fix-issues"},
    }
    for key, user in connection.execute(
        "select distinct on (rule) violation.key, person.username from integrity.violations as violation"
        " left join users_user as person on user_id = person.id order by rule, key"
    ).fetchall():
        wanted["explain", key] = {key} | ({user} if user else set())
    connection.commit()
    return wanted


@pytest.fixture(scope="module")
def states(
    sync_001_server: NoopExecutor, dirty_server: NoopExecutor, migrated_server: NoopExecutor
) -> Iterator[dict[str, State]]:
    """Yield a database in each state, which no test changes."""
    with (
        copied(sync_001_server, "terminal") as sync,
        copied(dirty_server, "terminal") as dirty,
        copied(dirty_server, "terminal_long") as long,
        copied(migrated_server, "terminal") as empty,
    ):
        concerned = column(long, "select distinct user_id from integrity.violations where user_id is not null")
        for number, user in enumerate(sorted(concerned)):
            # Usernames differ in their ends.
            name = NAMES[number % len(NAMES)][:148] + f"{number:02}"
            long.execute("update users_user set username = %s where id = %s", [name, user])
        # The triggers would derive the quests' status; what the constraints refuse keeps its title.
        long.execute("set session_replication_role = replica")
        for quest in column(long, "select id from quests_quest"):
            with suppress(psycopg.errors.CheckViolation), long.transaction():
                long.execute("update quests_quest set title = left(%s || id, 200) where id = %s", [TITLE, quest])
        long.commit()
        yield {
            name: State(connection, calls(connection))
            for name, connection in {"sync_001": sync, "dirty": dirty, "long": long, "empty": empty}.items()
        }


def assert_whole(shown: Shown, wanted: set[str], width: int) -> None:
    wide = [line for line in shown.lines if cell_len(line) > width]
    assert wide == []
    together = re.sub(r"\n *", "", shown.text)
    for text in map(printable, wanted):
        if cell_len(text) <= width:
            assert any(text in line for line in shown.lines), f"{text!r} is not whole in\n{shown.text}"
        else:
            # Folded, with nothing lost and nothing between.
            assert text in together or text in shown.text.replace("\n", ""), f"{text!r} is not all in\n{shown.text}"


@pytest.mark.parametrize("state", ["sync_001", "dirty", "long", "empty"])
def test_every_command_shows_names_whole(state: str, states: dict[str, State]) -> None:
    here = states[state]
    for arguments, wanted in here.calls.items():
        # Of the stories those with the longest names are enough.
        if ":" not in arguments[-1] or state in ("sync_001", "long"):
            shown = show(url_of(here.connection), *arguments)
            assert shown.code in (0, 1), shown.text
            assert COLOUR.search(shown.raw) is None
            assert_whole(shown, wanted, 80)


@pytest.mark.parametrize("width", [100, 160])
@pytest.mark.parametrize("state", ["sync_001", "dirty", "long", "empty"])
def test_so_do_wider_terminals(state: str, width: int, states: dict[str, State]) -> None:
    here = states[state]
    for arguments in WIDE:
        assert_whole(show(url_of(here.connection), *arguments, width=width), here.calls[arguments], width)


@pytest.mark.parametrize("state", ["sync_001", "long"])
def test_colours_change_nothing_else(state: str, states: dict[str, State]) -> None:
    here = states[state]
    for arguments in WIDE:
        plain, coloured = (show(url_of(here.connection), *arguments, colour=colour) for colour in (False, True))
        assert steady(coloured.text) == steady(plain.text)


def test_colours_of_a_preview_are_git_s(states: dict[str, State]) -> None:
    shown = show(url_of(states["dirty"].connection), "audit", "--fix-issues", "--dry-run", *CREATE, colour=True)
    assert "\x1b[1;32m+ public.quests_questparticipant" in shown.raw
    assert "\x1b[1;31m- public.quests_questparticipant" in shown.raw
    assert "\x1b[31mopen\x1b[0m → \x1b[32min-progress\x1b[0m" in shown.raw


def test_the_demo_fits_80_columns_and_ends_with_what_to_remember() -> None:
    shown = show("postgresql://not-used", "demo")
    assert shown.code == 0
    assert_whole(
        shown, {"approved_without_participant:application=2", "integrity_approved_application_has_participant"}, 80
    )
    assert shown.lines[-4:] == ["What to remember", *LESSONS]


def test_a_quest_is_a_heading_once(states: dict[str, State]) -> None:
    here = states["dirty"].connection
    shown = show(url_of(here), "audit", "--detailed")
    quests = re.findall(r"^quest (\d+)  Quest \d+$", shown.text, re.M)
    expected = column(here, "select quest_id from integrity.violations")
    assert (set(quests), len(quests)) == (expected, len(expected))


def test_who_may_not_read_titles_gets_the_ids(states: dict[str, State]) -> None:
    here = states["dirty"].connection
    role = f"reader_of_{here.info.dbname}"
    here.execute(f"create role {role} login in role integrity_reader".encode())
    here.commit()
    try:
        url = url_of(here).replace("//postgres@", f"//{role}@")
        key = min(column(here, "select key from integrity.duplicate_participant"))
        listed, story = show(url, "audit", "--detailed"), show(url, "explain", key)
    finally:
        here.execute(f"drop role {role}".encode())
        here.commit()
    assert (listed.code, story.code) == (1, 0)
    assert re.search(r"^quest \d+$", listed.text, re.M)
    assert_whole(listed, column(here, "select key from integrity.violations"), 80)
    assert "this role may not read them" in story.text
    assert "permission denied" in story.text


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (["audt"], "'audit'"),
        (["audit", "--rule", "duplicate_participants"], "duplicate_participant?"),
        (["explain", "unknown_statuss"], "unknown_status?"),
        (["events", "--kind", "repared"], "repaired?"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_mistyped_word_is_answered_with_the_near_one(
    arguments: list[str], near: str, states: dict[str, State]
) -> None:
    shown = show(url_of(states["empty"].connection), *arguments)
    assert shown.code == 2
    assert f"id you mean {near}" in " ".join(shown.lines)


def steady(text: str) -> str:
    """Return a screen without what is different each time: times, and the name of the server."""
    text = re.sub(r"^database: .*?\n(?=\S*[^(\n]*$)", "", text, count=1)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?", "2026-01-02T03:04:05.678901", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "2026-01-02 03:04:05", text)
    text = re.sub(r"\A(database: \S+ \(from\s--database-url\)\n)", "", text)
    return re.sub(r"(questparticipant id|repair run|repair-run|undo|run:?) \d+", r"\1 N", text)


def test_the_screens_of_the_incident(sync_001: _Connection) -> None:
    """One after the other: the incident is seen, previewed, repaired, and seen again."""
    sync_001.commit()
    key = "approved_without_participant:application=2"
    found = []
    for name, arguments in {
        "audit": ["audit"],
        "audit-detailed": ["audit", "--detailed"],
        "explain-rule": ["explain", "approved_without_participant"],
        "explain-key": ["explain", key],
        "preview": ["audit", "--fix-issues", "--dry-run", *CREATE],
        "validate-too-early": ["validate"],
        "repair": ["audit", "--fix-issues", "--yes", *CREATE],
        "audit-clean": ["audit"],
        "repairs": ["repairs"],
        "events": ["events"],
        "rules": ["rules"],
        "help": ["-h"],
        "audit-help": ["audit", "-h"],
    }.items():
        shown, file = steady(show(url_of(sync_001), *arguments).text), SCREENS / f"{name}.txt"
        if os.environ.get("SCREENS") == "write":
            file.parent.mkdir(exist_ok=True)
            file.write_text(shown)
        if file.read_text() != shown:
            found.append(f"{name}:\n{shown}")
    assert found == [], "SCREENS=write keeps these:\n" + "\n".join(found)


def test_json_of_the_same_is_what_it_was(sync_001: _Connection) -> None:
    """People are named where people read, machines get ids."""
    violation = json.loads(run(sync_001, "audit", "--format", "json").out)["violations"][0]
    assert violation["user_id"] == "483ab258-e434-44f3-9da2-73409dd55f55"
    assert violation["user_id"] in violation["message"]
    assert violation["user_id"] not in run(sync_001, "audit", "--detailed").out
