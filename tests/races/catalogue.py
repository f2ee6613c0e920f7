"""What is raced: the operations, the states they start from, and the levels they run at.

The statements are the ones that the web app, its admin, its commands and people at psql send. An operation that
first loads a row and later saves all of it, as Django does, keeps what it loaded in a setting of its session.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

READ_COMMITTED = "read committed"
REPEATABLE_READ = "repeatable read"
SERIALIZABLE = "serializable"
LEVELS = (READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE)

COMMIT = "commit"
# Every run has rows of its own; these users are shared by all runs and never written.
USERS = tuple(UUID(int=number) for number in range(1, 5))


@dataclass(frozen=True)
class Operation:
    """What one session does.

    Args:
        name: How reports call it.
        steps: The statements that can be overtaken by another session; ``COMMIT`` ends a transaction, and the
            one still open at the end is committed. ``{q}`` and the like are ids of the run's rows.
        loads: The first step only reads: what it sees depends on the commits before it, nothing else.
        setup: Run once before the race by the session that makes the rows.
    """

    name: str
    steps: tuple[str, ...]
    loads: bool = False
    setup: str = ""


@dataclass(frozen=True)
class State:
    """The rows a race starts from.

    Args:
        name: How reports call it.
        quest: Status and the number of the assigned user.
        applications: Status of ``a1`` (user 1), ``a2`` (user 2) and ``a3`` (user 1 again).
        participants: Status of user 1's and user 2's.
    """

    name: str
    quest: tuple[str, int | None]
    applications: tuple[str | None, str | None, str | None]
    participants: tuple[str | None, str | None]


STATES = (
    State("open", ("open", None), ("pending", "pending", "pending"), (None, None)),
    State("taken", ("in-progress", 1), ("approved", "pending", "pending"), ("joined", None)),
    State("shared", ("in-progress", 1), ("approved", "approved", "pending"), ("joined", "joined")),
    State("left", ("open", None), ("kicked", "pending", "pending"), ("dropped", None)),
    State("direct", ("in-progress", 1), ("pending", "pending", "pending"), ("joined", None)),
    State("completed", ("completed", 1), ("approved", "pending", "pending"), ("completed", None)),
    # The incident's own state, from before the law: only a repair or the mechanism may change its errors.
    State("lost", ("open", None), ("approved", "pending", None), (None, None)),
)
BROKEN_STATES = frozenset({"lost"})

_LOAD_QUEST = """
select set_config('race.status', status, false), set_config('race.assignee', assigned_to_id::text, false)
from public.quests_quest
where id = {q}
"""
# Every column, as Django's save() does; the values are those of the load.
_SAVE_QUEST = """
update public.quests_quest
set
  title = title, description = description, difficulty = difficulty, updated_at = now(), slug = slug,
  is_deleted = is_deleted, status = {status}, assigned_to_id = {assignee}, completed_at = {completed_at}
where id = {{q}}
"""
_LOADED_STATUS = "current_setting('race.status')"
_LOADED_ASSIGNEE = "nullif(current_setting('race.assignee'), '')::uuid"


def _save_quest(
    status: str = _LOADED_STATUS, assignee: str = _LOADED_ASSIGNEE, completed_at: str = "completed_at"
) -> str:
    return _SAVE_QUEST.format(status=status, assignee=assignee, completed_at=completed_at)


def _decide(application: str, status: str) -> str:
    return f"""
update public.applications_application
set status = '{status}', reviewed_at = now()
where id = {{{application}}}
"""


def _join(user: str) -> str:
    return f"""
insert into public.quests_questparticipant (quest_id, user_id, status, joined_at, progress_notes)
values ({{q}}, {{{user}}}, 'joined', now(), '')
"""


# Validating a constraint that is valid already does nothing, so the race starts with one that is not.
_NOT_VALID = """
alter table public.applications_application
drop constraint if exists integrity_approved_application_has_participant,
add constraint integrity_approved_application_has_participant
foreign key (quest_id, applicant_id, integrity_approved)
references public.quests_questparticipant (quest_id, user_id, integrity_active)
deferrable initially deferred not valid
"""

OPERATIONS = (
    Operation("approve", (_decide("a1", "approved"),)),
    Operation("approve other", (_decide("a2", "approved"),)),
    Operation("re-approve", (_decide("a3", "approved"),)),
    Operation("reject", (_decide("a1", "rejected"),)),
    Operation(
        "insert approved",
        (
            """
insert into public.applications_application (quest_id, applicant_id, status, applied_at)
values ({q}, {u3}, 'approved', now())
""",
        ),
    ),
    Operation(
        "approve in the app",
        (
            _LOAD_QUEST,
            _decide("a1", "approved"),
            """
update public.quests_questparticipant
set status = 'joined'
where quest_id = {q} and user_id = {u1} and status = 'dropped';
insert into public.quests_questparticipant (quest_id, user_id, status, joined_at, progress_notes)
select {q}, {u1}, 'joined', now(), ''
where not exists (select from public.quests_questparticipant where quest_id = {q} and user_id = {u1})
""",
            _save_quest(assignee="{u1}"),
            """
update public.applications_application
set status = 'rejected'
where quest_id = {q} and status = 'pending'
""",
        ),
        loads=True,
    ),
    Operation(
        "kick in the app",
        (
            _LOAD_QUEST,
            _decide("a1", "kicked"),
            """
update public.quests_questparticipant
set status = 'dropped'
where quest_id = {q} and user_id = {u1}
""",
            _save_quest(status="'open'"),
        ),
        loads=True,
    ),
    Operation(
        "leave",
        ("delete from public.quests_questparticipant where quest_id = {q} and user_id = {u1}",),
    ),
    Operation(
        "leave in the app",
        (
            "delete from public.quests_questparticipant where quest_id = {q} and user_id = {u1}",
            """
update public.quests_quest
set status = 'open', assigned_to_id = null
where
  id = {q}
  and not exists (
    select
    from public.quests_questparticipant
    where quest_id = {q} and status in ('joined', 'in_progress')
  )
""",
        ),
    ),
    Operation(
        "drop",
        (
            """
update public.quests_questparticipant
set status = 'dropped'
where quest_id = {q} and user_id = {u1}
""",
        ),
    ),
    Operation("join", (_join("u3"),)),
    Operation("join as applicant", (_join("u1"),)),
    Operation(
        "complete",
        (
            _LOAD_QUEST,
            _save_quest(status="'completed'", completed_at="now()"),
            """
update public.quests_questparticipant
set status = 'completed', completed_at = now()
where quest_id = {q} and status in ('joined', 'in_progress')
""",
        ),
        loads=True,
    ),
    Operation(
        "reopen",
        ("update public.quests_quest set status = 'open', completed_at = null where id = {q}",),
    ),
    Operation("stale quest save", (_LOAD_QUEST, _save_quest()), loads=True),
    Operation(
        "stale application save",
        (
            """
select set_config('race.status', status, false)
from public.applications_application
where id = {a1}
""",
            """
update public.applications_application
set status = current_setting('race.status'), applied_at = applied_at, reviewed_at = reviewed_at,
  applicant_id = applicant_id, quest_id = quest_id, reviewed_by_id = reviewed_by_id
where id = {a1}
""",
        ),
        loads=True,
    ),
    Operation("delete application", ("delete from public.applications_application where id = {a1}",)),
    Operation(
        "delete quest",
        (
            "delete from public.applications_application where quest_id = {q}",
            "delete from public.quests_questparticipant where quest_id = {q}",
            "delete from public.quests_quest where id = {q}",
        ),
    ),
    Operation(
        "bulk approve",
        (
            """
update public.applications_application
set status = 'approved'
where id in ({a1}, {a2})
""",
        ),
    ),
    Operation(
        "bulk reject",
        (
            """
update public.applications_application
set status = 'rejected'
where quest_id = {q} and status in ('pending', 'approved')
""",
        ),
    ),
    Operation(
        "change applicant",
        ("update public.applications_application set applicant_id = {u3} where id = {a1}",),
    ),
    Operation(
        "move application",
        ("update public.applications_application set quest_id = {q2} where id = {a1}",),
    ),
    Operation(
        "move participant",
        (
            """
update public.quests_questparticipant
set quest_id = {q2}
where quest_id = {q} and user_id = {u1}
""",
        ),
    ),
    Operation(
        "repair",
        (
            """
select set_config('race.run', integrity.start_repair('race', '{{"missing_participant": "create"}}')::text, false);
select integrity.plan_repair(current_setting('race.run')::bigint, null, null, {q}, 100)
""",
            COMMIT,
            "select integrity.repair_batch(current_setting('race.run')::bigint, 100)",
        ),
    ),
    Operation(
        "validate",
        (
            """
alter table public.applications_application
validate constraint integrity_approved_application_has_participant
""",
        ),
        setup=_NOT_VALID,
    ),
)

_OFF = "set local integrity.mechanism = off;"

# In sessions that have switched the mechanism off: the first two leave out what it would have done, the others do all
# of it themselves, as a load does. Raced against all of the above by themselves.
MECHANISM_OFF = (
    Operation("approve, mechanism off", (_OFF + _decide("a1", "approved"),)),
    Operation(
        "leave, mechanism off",
        (_OFF + "delete from public.quests_questparticipant where quest_id = {q} and user_id = {u1}",),
    ),
    Operation(
        "load, mechanism off",
        (
            _OFF
            + """
update public.quests_quest
set status = 'in-progress', assigned_to_id = {u3}
where id = {q}
""",
            _join("u3"),
            """
insert into public.applications_application (quest_id, applicant_id, status, applied_at)
values ({q}, {u3}, 'approved', now())
""",
        ),
    ),
    Operation(
        "empty, mechanism off",
        (
            _OFF + "update public.quests_quest set status = 'open', assigned_to_id = null where id = {q}",
            "delete from public.quests_questparticipant where quest_id = {q}",
            "update public.applications_application set status = 'kicked' where quest_id = {q} and status = 'approved'",
        ),
    ),
)

# Held by a third session, it stops the two others in the middle of their statements, each holding what it has
# locked so far: the orderings within statements that two sessions alone cannot be made to show.
HOLD_QUEST = Operation("hold quest", ("select from public.quests_quest where id = {q} for no key update",))

BY_NAME: Mapping[str, Operation] = {
    operation.name: operation for operation in (*OPERATIONS, *MECHANISM_OFF, HOLD_QUEST)
}
STATE_BY_NAME: Mapping[str, State] = {state.name: state for state in STATES}


@dataclass(frozen=True)
class Rows:
    """The ids of one run's rows."""

    q: int
    q2: int
    a1: int
    a2: int
    a3: int

    @classmethod
    def numbered(cls, number: int) -> "Rows":
        """Return the ids of a run: far above those that the database will hand out."""
        first = 1_000_000_000 + 10 * number
        return cls(first, first + 1, first, first + 1, first + 2)

    def names(self) -> dict[str, str]:
        """Return what a statement's placeholders stand for."""
        users = {f"u{number}": f"'{user}'" for number, user in enumerate(USERS, 1)}
        return users | {name: str(value) for name, value in vars(self).items()}


def insert_users() -> str:
    """Return the statements that insert what all runs share."""
    users = ",\n".join(
        f"('{user}', '!', false, 'user{number}', '', '', false, true, now(), 'user{number}@example.test')"
        for number, user in enumerate(USERS, 1)
    )
    return f"""
insert into public.users_user (
  id, password, is_superuser, username, first_name, last_name, is_staff, is_active, date_joined, email
)
values {users};
insert into public.quests_questcategory (id, name, created_at) values (1, 'races', now());
"""


def insert_rows(state: State, rows: Rows) -> str:
    """Return the statements that insert a state, markers included: they are run with all triggers off."""

    def user(number: int | None) -> str:
        return "null" if number is None else f"'{USERS[number - 1]}'"

    def quest(identifier: int, status: str, assignee: int | None) -> str:
        completed = "now()" if status == "completed" else "null"
        assigned = "true" if assignee else "null"
        return (
            f"({identifier}, 'race', '', 'easy', '{status}', 0, 0, 0, now(), now(), '', '', '{identifier}', "
            f"false, {user(assignee)}, {assigned}, {completed}, 1, {user(4)})"
        )

    applications = [
        f"({identifier}, {rows.q}, {user(number)}, '{status}', now(), {'true' if status == 'approved' else 'null'})"
        for identifier, number, status in zip((rows.a1, rows.a2, rows.a3), (1, 2, 1), state.applications, strict=True)
        if status is not None
    ]
    participants = [
        f"({rows.q + number - 1}, {rows.q}, {user(number)}, '{status}', "
        f"now() - interval '1 day' + {number} * interval '1 hour', '', "
        f"{'null' if status == 'dropped' else 'true'})"
        for number, status in enumerate(state.participants, 1)
        if status is not None
    ]
    statements = [
        "insert into public.quests_quest (id, title, description, difficulty, status, xp_reward, gold_reward, "
        "commission_fee, created_at, updated_at, requirements, resources, slug, is_deleted, assigned_to_id, "
        "integrity_assigned, completed_at, category_id, creator_id) values "
        f"{quest(rows.q, *state.quest)}, {quest(rows.q2, 'open', None)}",
        "insert into public.applications_application (id, quest_id, applicant_id, status, applied_at, "
        f"integrity_approved) values {', '.join(applications)}",
    ]
    if participants:
        statements.append(
            "insert into public.quests_questparticipant (id, quest_id, user_id, status, joined_at, "
            f"progress_notes, integrity_active) values {', '.join(participants)}"
        )
    return "; ".join(statements)
