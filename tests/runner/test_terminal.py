"""Every command in a real terminal: what can be typed or copied is there whole, and no line is wider than the terminal.

The screens of SYNC-001 at 80 columns are kept in tests/runner/screens, a file each. When a screen changes on purpose,
run `SCREENS=write pytest tests/runner/test_terminal.py` and read the difference.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from rich.cells import cell_len

from checks.commands import ORDER
from checks.render import printable
from checks.screens.demo import LESSONS
from tests.support import factory
from tests.support.cli import run
from tests.support.database import copied, url_of
from tests.support.screen import Look, Shown, show, show_in

_Connection = psycopg.Connection[Any]
SCREENS = Path(__file__).with_name("screens")
COLOUR = re.compile(r"\x1b\[(?:\d+;)*[349]\d")
CREATE = ("--missing-participant", "create")
LOOKS = [Look(width, colour) for width in (80, 100, 160) for colour in (False, True)]
CODES = (0, 1, 2, 3)
STATES = ("sync_001", "dirty", "long", "empty")

# As long as the column allows: plain, wide, right to left, and with what would command a terminal.
NAMES = ("n" * 150, "名" * 150, "א" * 150, "a\x1b[2J\n\u202e" * 25, "two words " * 15)
TITLE = "Der lange Titel\x1b]0;title\x07 " * 8

Calls = dict[tuple[str, ...], set[str]]


@dataclass
class State:
    """A database, and what every screen of a command on it has to show whole, by the command's arguments."""

    connection: _Connection
    calls: Calls = field(default_factory=dict)


def column(connection: _Connection, query: str) -> set[str]:
    found = {str(value) for (value,) in connection.execute(query.encode()) if value is not None}
    connection.commit()
    return found


def people(connection: _Connection, query: str) -> set[str]:
    """Return the usernames of the users whose ids a query finds."""
    return column(connection, f"select username from users_user where id in ({query})")


def calls(connection: _Connection) -> Calls:
    """Return the commands that change nothing, and the names in their answers."""
    rules = column(connection, "select rule from integrity.rule where severity <> 'off'")
    broken = column(connection, "select rule from integrity.violations")
    keys = column(connection, "select key from integrity.violations")
    concerned = people(connection, "select user_id from integrity.violations where quest_id is not null")
    guarded = column(
        connection, "select split_part(identity, ' on ', 1) from integrity.guard_status where status <> 'ok'"
    )
    logged = column(connection, "select kind from integrity.events union select username from integrity.events")
    actors = column(connection, "select actor from integrity.repair_run")
    kept = column(connection, "select key from integrity.audit_change")
    wanted: Calls = {
        ("audit",): broken,
        ("audit", "--all"): rules,
        ("audit", "--detailed"): broken | keys | concerned,
        ("audit", "--fix-issues", "--dry-run", *CREATE): broken | repaired(connection),
        ("audit", "--rule", "nonsense"): rules,
        ("audit", "--format", "nonsense"): {"'junit'", "'github'", "quest-integrity audit -h"},
        ("rules",): rules,
        ("repairs",): actors,
        ("events",): logged | column(connection, "select actor from integrity.events"),
        ("history",): actors,
        ("history", "--detailed"): kept | people(connection, "select user_id from integrity.audit_change"),
        ("guards",): guarded,
        ("statuses",): column(connection, "select relation || ':' || status from integrity.status"),
        ("undo", "99"): {"quest-integrity repairs"},
    }
    connection.commit()
    return wanted


def repaired(connection: _Connection) -> set[str]:
    return people(connection, "select user_id from integrity.violations where repair = 'create_participant'")


def stories(connection: _Connection) -> Calls:
    """Return what can be explained, and the names in the answers."""
    wanted: Calls = {("explain", rule): {rule} for rule in column(connection, "select rule from integrity.violations")}
    for key, user in connection.execute(
        "select distinct on (rule) violation.key, person.username from integrity.violations as violation"
        " left join users_user as person on user_id = person.id order by rule, key"
    ).fetchall():
        wanted["explain", key] = {key} | ({user} if user else set())
    connection.commit()
    return wanted


def lengthen(connection: _Connection) -> None:
    """Give people and quests the longest names that the columns allow."""
    for number, user in enumerate(sorted(column(connection, "select id from users_user"))):
        # Usernames differ in their ends.
        name = NAMES[number % len(NAMES)][:148] + f"{number:02}"
        connection.execute("update users_user set username = %s where id = %s", [name, user])
    # The triggers would derive the quests' status; what the constraints refuse keeps its title.
    connection.execute("set session_replication_role = replica")
    for quest in column(connection, "select id from quests_quest"):
        with suppress(psycopg.errors.CheckViolation), connection.transaction():
            connection.execute("update quests_quest set title = left(%s || id, 200) where id = %s", [TITLE, quest])
    connection.execute("set session_replication_role = origin")
    connection.commit()


def act(connection: _Connection, actor: str) -> None:
    """Leave something to list: an approval, a run, an audit."""
    connection.execute("select set_config('integrity.actor', %s, false)", [actor])
    user = min(column(connection, "select id from users_user"), default=None)
    if user is not None:
        application = factory.application(connection, factory.quest(connection), UUID(user))
        connection.execute("update applications_application set status = 'approved' where id = %s", [application])
    connection.execute("select integrity.start_repair('the reason of a repair ' || repeat('why ', 40), '{}')")
    connection.execute("select integrity.record_audit()")
    connection.execute("reset integrity.actor")
    connection.commit()


@contextmanager
def in_state(state: str, request: pytest.FixtureRequest, suffix: str) -> Iterator[_Connection]:
    server = {"sync_001": "sync_001_server", "empty": "migrated_server"}.get(state, "dirty_server")
    with copied(request.getfixturevalue(server), f"{suffix}_{state}") as connection:
        if state == "long":
            lengthen(connection)
        if state in ("long", "dirty"):
            act(connection, "clerk" if state == "dirty" else NAMES[1])
        yield connection


@pytest.fixture(scope="module")
def states(request: pytest.FixtureRequest) -> Iterator[dict[str, State]]:
    """Yield a database in each state, which no test changes."""
    with ExitStack() as stack:
        opened = {state: stack.enter_context(in_state(state, request, "terminal")) for state in STATES}
        yield {state: State(connection, calls(connection)) for state, connection in opened.items()}


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


def assert_every_look(url: str, wanted: set[str], *arguments: str) -> None:
    """Run a command in every terminal: names are whole, nothing is too wide, and colours change nothing else."""
    shown = dict(zip(LOOKS, show_in(url, LOOKS, *arguments), strict=True))
    for look, screen in shown.items():
        assert screen.code in CODES, screen.text
        assert_whole(screen, wanted, look.width)
        if look.colour:
            assert steady(screen.text) == steady(shown[Look(look.width)].text)
        else:
            assert COLOUR.search(screen.raw) is None


@pytest.mark.parametrize("state", STATES)
def test_every_command_shows_names_whole(state: str, states: dict[str, State]) -> None:
    for arguments, wanted in states[state].calls.items():
        assert_every_look(url_of(states[state].connection), wanted, *arguments)


@pytest.mark.parametrize("state", ["sync_001", "long"])
def test_so_does_every_story(state: str, states: dict[str, State]) -> None:
    here = states[state].connection
    for arguments, wanted in stories(here).items():
        assert_every_look(url_of(here), wanted, *arguments)


def test_so_does_every_help() -> None:
    for command in [
        [],
        *([name] for name in ORDER),
        *(["server", name] for name in ("start", "stop", "status", "url")),
    ]:
        assert_every_look("postgresql://not-used", {"--help"}, *command, "-h")


@pytest.mark.parametrize(
    ("state", "look"),
    [
        ("sync_001", Look(100, True)),
        ("long", Look(80)),
        ("empty", Look(160, True)),
    ],
    ids=str,
)
def test_so_do_commands_that_change_something(
    state: str, look: Look, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """One after the other on one database."""
    page = tmp_path / "report.html"
    with in_state(state, request, "changed") as here:
        url = url_of(here)
        names = column(here, "select name from integrity.law union select rule from integrity.rule")
        names |= {"quest-integrity attach", "applications_application:withdrawn", str(page), "0011_roles"}
        for arguments in [
            ["detach"],
            ["audit"],
            ["guards", "--probe"],
            ["attach"],
            ["around", "--", "true"],
            ["statuses", "--add", "applications_application:withdrawn"],
            ["statuses", "--remove", "applications_application:withdrawn"],
            ["audit", "--record"],
            ["validate"],
            ["report", "--html", str(page)],
            ["audit", "--fix-issues", "--yes", *CREATE],
            ["undo", "2" if state == "long" else "1"],
            ["repairs"],
            ["downgrade", "0011_roles"],
            ["upgrade"],
        ]:
            shown = show(url, *arguments, width=look.width, colour=look.colour)
            assert shown.code in CODES, shown.text
            together = re.sub(r"\n *", "", shown.text)
            assert_whole(shown, {name for name in names if name in together}, look.width)


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
