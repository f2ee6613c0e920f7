"""quest-integrity repairs and undo: what is restored, what is reported, and under which law."""

from typing import Any

import psycopg
import pytest

from tests.support import factory, plant
from tests.support.cli import Ran, blocked, finish, run
from tests.support.database import another
from tests.support.proof import enforce

_Connection = psycopg.Connection[Any]


def fix(connection: _Connection, *arguments: object) -> Ran:
    return run(connection, "audit", "--fix-issues", "--yes", "--missing-participant", "create", *arguments)


def undo(connection: _Connection, which: int = 1, *arguments: object) -> Ran:
    return run(connection, "undo", which, *arguments)


def outcomes(connection: _Connection) -> list[tuple[Any, ...]]:
    """Return quest, outcome and detail of every item of the newest run."""
    return connection.execute(
        "select quest_id, outcome, detail from integrity.repair_item"
        " where run = (select max(id) from integrity.repair_run) order by number"
    ).fetchall()


def table(connection: _Connection, name: str, quest_id: int) -> list[dict[str, Any]]:
    column = "id" if name == "quests_quest" else "quest_id"
    rows = connection.execute(f"select to_jsonb(t) from {name} as t where {column} = %s order by id", [quest_id])
    return [row for (row,) in rows]


def quest_state(connection: _Connection, quest_id: int) -> dict[str, list[dict[str, Any]]]:
    names = ("quests_quest", "applications_application", "quests_questparticipant")
    return {name: table(connection, name, quest_id) for name in names}


@pytest.fixture
def stranger(dirty: _Connection) -> int:
    """Return the quest that is assigned to somebody who does not take part."""
    (quest_id,) = dirty.execute("select quest_id from integrity.assignee_not_participant").fetchone() or (0,)
    return int(quest_id)


class TestRestores:
    def test_merged_duplicates_and_what_refers_to_them(self, dirty: _Connection) -> None:
        quest_id, second = dirty.execute(
            "select quest_id, (found -> 'ids' ->> 1)::bigint from integrity.duplicate_participant"
        ).fetchone() or (0, 0)
        submission = factory.insert(
            dirty,
            "quests_questsubmission",
            {"submission_text": "", "status": "new", "submitted_at": plant.DONE, "quest_participant_id": second},
        )
        before = quest_state(dirty, quest_id)
        fix(dirty, "--quest", quest_id)
        assert quest_state(dirty, quest_id) != before
        ran = undo(dirty)
        assert (ran.code, outcomes(dirty)) == (0, [(quest_id, "undone", None)])
        assert quest_state(dirty, quest_id) == before
        referred = dirty.execute("select quest_participant_id from quests_questsubmission where id = %s", [submission])
        assert referred.fetchall() == [(second,)]

    def test_whatever_time_zone_the_session_is_in(self, dirty: _Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        quest_id = dirty.execute("select quest_id from integrity.duplicate_participant").fetchall()[0][0]
        before = quest_state(dirty, quest_id)
        monkeypatch.setenv("PGTZ", "Asia/Tokyo")
        fix(dirty, "--quest", quest_id)
        monkeypatch.setenv("PGTZ", "America/New_York")
        assert undo(dirty).code == 0
        assert quest_state(dirty, quest_id) == before

    def test_a_row_that_two_rules_changed(self, migrated: _Connection) -> None:
        """Two of a project's own, each with a repair: neither step may be left over."""
        for column in ("title", "description"):
            migrated.execute(
                f"create view integrity.no_{column} as select 'no_{column}'::text as rule, 'error'::text as severity,"
                " id as quest_id, null::uuid as user_id, null::bigint as application_id,"
                " null::bigint as participant_id,"
                " 'empty' as message, '{}'::jsonb as expected, '{}'::jsonb as found, 'fill'::text as repair,"
                f" 'no_{column}:quest=' || id as key from public.quests_quest where {column} = ''"
            )
            migrated.execute(
                f"create function integrity.repair_no_{column}(quests bigint[], keys text[], options jsonb)"
                " returns void language sql begin atomic;"
                f" update public.quests_quest set {column} = 'n/a' where id = any(quests); end"
            )
            migrated.execute(f"select integrity.add_rule('no_{column}', 'error', 'empty {column}s', 'None is empty.')")
        quest_id = factory.quest(migrated, title="", description="")
        before = quest_state(migrated, quest_id)
        assert fix(migrated).code == 0
        assert migrated.execute("select count(*) from integrity.repair_change").fetchone() == (2,)
        ran = undo(migrated)
        assert (ran.code, outcomes(migrated)) == (0, [(quest_id, "undone", None)])
        assert quest_state(migrated, quest_id) == before

    def test_one_run_of_two_on_a_quest(self, migrated: _Connection) -> None:
        """A project's own rules, one of quests and one of participants, whose rows have the same number."""
        for rule, table, column, quest in (
            ("no_title", "quests_quest", "title", "id"),
            ("no_notes", "quests_questparticipant", "progress_notes", "quest_id"),
        ):
            migrated.execute(
                f"create view integrity.{rule} as select '{rule}'::text as rule, 'error'::text as severity,"
                f" {quest} as quest_id, null::uuid as user_id, null::bigint as application_id,"
                " null::bigint as participant_id, 'empty' as message, '{}'::jsonb as expected, '{}'::jsonb as found,"
                f" 'fill'::text as repair, '{rule}:quest=' || {quest} as key from public.{table} where {column} = ''"
            )
            migrated.execute(
                f"create function integrity.repair_{rule}(quests bigint[], keys text[], options jsonb)"
                " returns void language sql begin atomic;"
                f" update public.{table} set {column} = 'n/a' where {quest} = any(quests); end"
            )
            migrated.execute(f"select integrity.add_rule('{rule}', 'error', 'empty', 'None is empty.')")
        quest_id = factory.quest(migrated, title="")
        assert factory.participant(migrated, quest_id, factory.user(migrated)) == quest_id
        migrated.commit()
        untitled = quest_state(migrated, quest_id)["quests_quest"]
        for rule in ("no_title", "no_notes"):
            assert fix(migrated, "--rule", rule).code in {0, 1}
        noted = quest_state(migrated, quest_id)["quests_questparticipant"]

        undo(migrated)

        assert outcomes(migrated) == [(quest_id, "undone", None)]
        assert quest_state(migrated, quest_id) == {
            "quests_quest": untitled,
            "applications_application": [],
            "quests_questparticipant": noted,
        }
        undone = migrated.execute("select quest_id from integrity.event where kind = 'undone'").fetchall()
        assert undone == [(quest_id,)]

    def test_a_table_with_generated_columns_and_one_without_a_key(self, dirty: _Connection) -> None:
        quest_id, second = dirty.execute(
            "select quest_id, (found -> 'ids' ->> 1)::bigint from integrity.duplicate_participant"
        ).fetchone() or (0, 0)
        dirty.execute("alter table quests_questparticipant add shout text generated always as (upper(status)) stored")
        dirty.execute(
            "create table note (text text, empty text, participant_id bigint references quests_questparticipant (id))"
        )
        dirty.execute("insert into note values ('hello', null, %s)", [second])
        before = quest_state(dirty, quest_id)
        fix(dirty, "--quest", quest_id)
        assert dirty.execute("select participant_id from note").fetchone() != (second,)
        assert undo(dirty).code == 0
        assert quest_state(dirty, quest_id) == before
        assert dirty.execute("select * from note").fetchall() == [("hello", None, second)]

    def test_a_row_whose_number_nobody_may_write(self, dirty: _Connection) -> None:
        """Only the column that the repair changed is written back."""
        (second,) = dirty.execute(
            "select (found -> 'ids' ->> 1)::bigint from integrity.duplicate_participant"
        ).fetchone() or (0,)
        dirty.execute(
            "create table badge (id int generated always as identity primary key,"
            " participant_id bigint references quests_questparticipant (id))"
        )
        dirty.execute("insert into badge (participant_id) values (%s)", [second])
        fix(dirty, "--rule", "duplicate_participant")
        assert dirty.execute("select participant_id from badge").fetchall() != [(second,)]
        assert undo(dirty).code == 0
        assert dirty.execute("select id, participant_id from badge").fetchall() == [(1, second)]

    def test_rows_that_a_cascade_would_have_taken_along(self, dirty: _Connection) -> None:
        """A row that references a participant together with its quest is re-pointed before the participant goes."""
        dirty.execute("alter table quests_questparticipant add unique (quest_id, id)")
        dirty.execute(
            "create table photo (id int primary key, quest_id bigint, participant_id bigint,"
            " foreign key (quest_id, participant_id) references quests_questparticipant (quest_id, id)"
            " on delete cascade)"
        )
        dirty.execute(
            "insert into photo select row_number() over (), quest_id, id.value::bigint"
            " from integrity.duplicate_participant, jsonb_array_elements(found -> 'ids') as id (value)"
        )
        before = dirty.execute("select * from photo order by id").fetchall()
        assert len(before) == 2
        fix(dirty, "--rule", "duplicate_participant")
        assert dirty.execute("select count(*), count(distinct participant_id) from photo").fetchall() == [(2, 1)]
        assert undo(dirty).code == 0
        assert dirty.execute("select * from photo order by id").fetchall() == before

    def test_an_undo_of_an_undo_where_others_refer_to_what_it_removes(self, dirty: _Connection) -> None:
        (second,) = dirty.execute(
            "select (found -> 'ids' ->> 1)::bigint from integrity.duplicate_participant"
        ).fetchone() or (0,)
        dirty.execute(
            "create table badge (id int primary key, participant_id bigint references quests_questparticipant (id))"
        )
        dirty.execute("insert into badge values (7, %s)", [second])
        fix(dirty, "--rule", "duplicate_participant")
        (kept,) = dirty.execute("select participant_id from badge").fetchone() or (0,)
        assert kept != second
        assert undo(dirty).code == 0
        assert dirty.execute("select participant_id from badge").fetchall() == [(second,)]
        undo(dirty, 2)
        assert [outcome for _, outcome, _ in outcomes(dirty)] == ["undone"]
        assert dirty.execute("select participant_id from badge").fetchall() == [(kept,)]

    def test_each_quest_may_break_what_is_deferred_on_its_way(self, migrated: _Connection) -> None:
        """A project's own repair, which exchanges what must differ between the rows of a quest."""
        migrated.execute(
            "alter table quests_questparticipant add unique (progress_notes) deferrable initially deferred"
        )
        migrated.execute(
            "create view integrity.exchanged as select 'exchanged'::text as rule, 'error'::text as severity,"
            " id as quest_id, null::uuid as user_id, null::bigint as application_id, null::bigint as participant_id,"
            " 'exchanged' as message, '{}'::jsonb as expected, '{}'::jsonb as found, 'exchange'::text as repair,"
            " 'exchanged:quest=' || id as key from public.quests_quest where title = ''"
        )
        migrated.execute(
            "create function integrity.repair_exchanged(quests bigint[], keys text[], options jsonb) returns void"
            " language sql begin atomic; update public.quests_questparticipant"
            " set progress_notes = translate(progress_notes, 'ab', 'ba') where quest_id = any(quests);"
            " update public.quests_quest set title = 'n/a' where id = any(quests); end"
        )
        migrated.execute("select integrity.add_rule('exchanged', 'error', 'exchanged', 'Each has its own.')")
        quests = [factory.quest(migrated, title="") for _ in range(2)]
        for quest_id in quests:
            for letter in "ab":
                factory.participant(migrated, quest_id, factory.user(migrated), progress_notes=f"{letter}{quest_id}")
        migrated.commit()
        before = [quest_state(migrated, quest_id) for quest_id in quests]
        fix(migrated)
        assert [quest_state(migrated, quest_id) for quest_id in quests] != before
        undo(migrated)
        assert outcomes(migrated) == [(quest_id, "undone", None) for quest_id in quests]
        assert [quest_state(migrated, quest_id) for quest_id in quests] == before

    def test_an_undo_of_an_undo(self, dirty: _Connection) -> None:
        quest_id = dirty.execute("select quest_id from integrity.duplicate_participant").fetchall()[0][0]
        fix(dirty, "--quest", quest_id)
        repaired = quest_state(dirty, quest_id)
        assert undo(dirty, 1).code == 0
        assert quest_state(dirty, quest_id) != repaired
        assert undo(dirty, 2).code == 0
        assert quest_state(dirty, quest_id) == repaired
        runs = dirty.execute("select id, kind, undoes, finished_at is not null from integrity.repair_run order by id")
        assert runs.fetchall() == [(1, "repair", None, True), (2, "undo", 1, True), (3, "undo", 2, True)]
        assert "undo of 2" in run(dirty, "repairs").out

    def test_a_second_undo_finds_everything_as_it_was(self, dirty: _Connection) -> None:
        quest_id = dirty.execute("select quest_id from integrity.duplicate_participant").fetchall()[0][0]
        before = quest_state(dirty, quest_id)
        fix(dirty, "--quest", quest_id)
        assert undo(dirty).code == 0
        assert undo(dirty).code == 0
        assert quest_state(dirty, quest_id) == before

    def test_keeps_who_and_why(self, sync_001: _Connection) -> None:
        fix(sync_001)
        undo(sync_001, 1, "--reason", "wrong ticket")
        row = sync_001.execute("select reason, undoes, actor = session_user from integrity.repair_run where id = 2")
        assert row.fetchall() == [("wrong ticket", 1, True)]


class TestReports:
    def test_rows_that_somebody_wrote_into_since(self, audit_001: _Connection) -> None:
        fix(audit_001)
        quests = [
            quest_id
            for quest_id, *_ in audit_001.execute(
                "select quest_id from integrity.repair_change where rule = 'approved_without_participant'"
                " and relation = 'public.quests_questparticipant' order by quest_id"
            )
        ]
        audit_001.execute(
            "update quests_questparticipant set progress_notes = 'half-way' where quest_id = %s and id in ("
            "select (row_key ->> 'id')::bigint from integrity.repair_change where before is null)",
            [quests[0]],
        )
        before = quest_state(audit_001, quests[0])
        ran = undo(audit_001)
        assert ran.code == 1
        found = {quest_id: (outcome, detail) for quest_id, outcome, detail in outcomes(audit_001)}
        outcome, detail = found[quests[0]]
        assert outcome == "changed since"
        assert detail.startswith("public.quests_questparticipant")
        assert detail in ran.out
        assert quest_state(audit_001, quests[0]) == before

    def test_what_the_law_does_not_let_return(self, sync_001: _Connection) -> None:
        """The incident's state itself: the participant goes, and with it the approval and the assignment."""
        fix(sync_001)
        ran = undo(sync_001)
        assert ran.code == 1
        assert outcomes(sync_001) == [(5, "partly undone", 'public.applications_application {"id": 2}')]
        assert 'public.applications_application {"id": 2}' in ran.out
        state = quest_state(sync_001, 5)
        assert [row["status"] for row in state["applications_application"]] == ["kicked"]
        assert [(row["status"], row["assigned_to_id"]) for row in state["quests_quest"]] == [("open", None)]
        assert state["quests_questparticipant"] == []
        assert run(sync_001, "audit").code == 0

    def test_what_comes_back_only_with_somebody_put_back(self, dirty: _Connection) -> None:
        """An approval brings its participant along: it is restored, and the undo says that more than it changed."""
        quest_id = dirty.execute(
            "select quest_id from integrity.approved_without_participant where repair = 'end_application'"
        ).fetchall()[0][0]
        fix(dirty, "--quest", quest_id)
        ran = undo(dirty)
        assert ran.code == 1
        ((_, outcome, detail),) = outcomes(dirty)
        assert outcome == "partly undone"
        assert detail.startswith("public.quests_questparticipant")

    def test_duplicates_that_the_law_refuses_by_the_constraint_s_name(self, dirty: _Connection) -> None:
        quest_id = dirty.execute("select quest_id from integrity.duplicate_participant").fetchall()[0][0]
        fix(dirty)
        enforce(dirty)
        before = quest_state(dirty, quest_id)
        ran = undo(dirty)
        assert ran.code == 1
        refused = {quest: detail for quest, outcome, detail in outcomes(dirty) if outcome == "refused"}
        assert refused[quest_id] in ("integrity_active_participant_key", "integrity_participant_key")
        assert refused[quest_id] in ran.out
        assert quest_state(dirty, quest_id) == before
        assert run(dirty, "audit", "--rule", "duplicate_participant", "--rule", "duplicate_approval").code == 0

    def test_a_quest_that_is_no_longer_there(self, sync_001: _Connection) -> None:
        fix(sync_001)
        for name in ("applications_application", "quests_questparticipant"):
            sync_001.execute(f"delete from {name} where quest_id = 5")
        sync_001.execute("delete from quests_quest where id = 5")
        assert undo(sync_001).code == 1
        ((quest_id, outcome, _),) = outcomes(sync_001)
        assert (quest_id, outcome) == (5, "changed since")

    def test_what_refers_to_a_created_participant_by_now(self, sync_001: _Connection) -> None:
        fix(sync_001)
        (participant_id,) = sync_001.execute(
            "select id from quests_questparticipant where quest_id = 5"
        ).fetchone() or (0,)
        factory.insert(
            sync_001,
            "quests_questsubmission",
            {
                "submission_text": "",
                "status": "new",
                "submitted_at": plant.DONE,
                "quest_participant_id": participant_id,
            },
        )
        before = quest_state(sync_001, 5)
        ran = undo(sync_001)
        assert ran.code == 1
        ((_, outcome, detail),) = outcomes(sync_001)
        assert (outcome, detail) == ("refused", "quests_questsubmissi_quest_participant_id_6f12ed84_fk_quests_qu")
        assert quest_state(sync_001, 5) == before


def test_one_quest_refused_does_not_cost_the_others(dirty: _Connection, stranger: int) -> None:
    fix(dirty)
    enforce(dirty)
    undo(dirty, 1, "--batch-size", 1000)
    counts = dirty.execute(
        "select outcome from integrity.repair_item where run = 2 group by outcome order by outcome"
    ).fetchall()
    assert ("refused",) in counts
    assert len(counts) > 1
    assert run(dirty, "audit", "--rule", "assignee_not_participant").code == 0
    assert stranger


def test_a_connection_lost_half_way_leaves_the_rest_to_the_next_undo(audit_001: _Connection) -> None:
    fix(audit_001)
    quests = [
        quest
        for (quest,) in audit_001.execute("select distinct quest_id from integrity.repair_change order by quest_id")
    ]
    audit_001.commit()
    with (
        another(audit_001) as holder,
        blocked(
            holder,
            audit_001,
            f"select from quests_quest where id = {quests[1]} for update",
            "undo",
            "1",
            "--batch-size",
            "1",
        ) as process,
    ):
        audit_001.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'quest-integrity'"
            " and datname = current_database()"
        )
        ran = finish(process)
    assert ran.code == 2
    assert "Traceback" not in ran.err
    handled = [outcome for _, outcome, _ in outcomes(audit_001)]
    assert handled[0] is not None
    assert handled[1:] == [None] * 4
    undo(audit_001)
    assert None not in [outcome for _, outcome, _ in outcomes(audit_001)]


def test_repairs_lists_nothing_where_nothing_was_repaired(migrated: _Connection) -> None:
    ran = run(migrated, "repairs")
    assert (ran.code, ran.out) == (0, "")
    assert "nothing was repaired here" in ran.err
