"""The law and the mechanism, in one short transaction, so that no writer ever meets half of it.

Locks: ACCESS EXCLUSIVE on the three tables together, for the milliseconds that catalog changes take (CHECKs and foreign
keys are NOT VALID, nothing is scanned), waiting at most lock-timeout per attempt and holding nothing in between.
"""

import sqlalchemy as sa
from alembic import op

from migrations.options import is_offline
from migrations.sql_objects import execute, install_all, remove_all
from migrations.steps import forget_law, record_law, under_lock

revision = "0007_law"
down_revision = "0006_keys"
branch_labels = None
depends_on = None

# In the order in which the app writes them when it approves.
TABLES = ("applications_application", "quests_questparticipant", "quests_quest")

# What triggers call and no table waits for.
FUNCTIONS = (
    "law/refuse_unknown_status",
    "mechanism/mechanism_is_off",
    "mechanism/repeats_own_transaction",
    "mechanism/derived_assignee",
    "mechanism/derived_status",
    "mechanism/derive_locked_quest",
    "mechanism/derive_quest",
    "mechanism/approve_otherwise",
)
MECHANISM = (
    "mechanism/lock_quest",
    "mechanism/on_quest_write",
    "mechanism/on_participant_joined",
    "mechanism/on_participant_ended",
    "mechanism/on_application_approved",
    "mechanism/on_application_ended",
    "law/refuse_cascaded_truncate",
)
# Each is dropped again by whoever enforces the constraint it stands in for, on an empty database by 0009_validate.
STAND_INS = (
    "law/application_status_known",
    "law/participant_status_known",
    "law/quest_status_known",
    "law/quest_heal",
    "law/end_outlived_approvals",
    "law/refuse_second_approval",
)


def _check(
    relation: str, name: str, expression: str, *rules: str, waits: bool = False, stand_in: str | None = None
) -> dict[str, object]:
    return {
        "name": name,
        "relation": relation,
        "kind": "check",
        "definition": f"check ({expression})",
        "waits": waits,
        "stand_in": stand_in,
        "rules": list(rules),
    }


def _foreign_key(
    relation: str, name: str, columns: str, target: str, requires: str, *rules: str, stand_in: str | None = None
) -> dict[str, object]:
    return {
        "name": name,
        "relation": relation,
        "kind": "foreign key",
        "definition": f"foreign key ({columns}) references {target} deferrable initially deferred",
        "requires": requires,
        "stand_in": stand_in,
        "rules": list(rules),
    }


# PostgreSQL reads the text of every CHECK of a table anew for each statement, in a time that grows with the nodes of
# the expression, so these are as short as they get: one comparison and one constant where that is enough. The cast
# makes it print a list the same way after a dump and restore.
LAW = (
    _check(
        "applications_application",
        "integrity_application_marker",
        "case when status = 'approved' then integrity_approved is true else integrity_approved is null end",
    ),
    _check(
        "quests_questparticipant",
        "integrity_participant_marker",
        "case when status <> 'dropped' then integrity_active is true else integrity_active is null end",
    ),
    _check(
        "quests_quest",
        "integrity_quest_marker",
        "case when assigned_to_id is null then integrity_assigned is null else integrity_assigned is true end",
    ),
    _check(
        "quests_quest",
        "integrity_status_matches_assignment",
        "status <> case when assigned_to_id is null then 'in-progress' else 'open' end",
        "in_progress_without_participant",
        "unassigned_quest_with_participant",
        "open_quest_with_participant",
        "assignee_not_participant",
        stand_in="integrity_heal",
    ),
    # An app row with an unknown status must still be saved unchanged, so these wait until there is none.
    _check(
        "applications_application",
        "integrity_application_status_known",
        "status::text = any ('{pending,approved,rejected,kicked}')",
        "unknown_status",
        waits=True,
        stand_in="integrity_application_status_known",
    ),
    _check(
        "quests_questparticipant",
        "integrity_participant_status_known",
        "status::text = any ('{joined,in_progress,completed,dropped}')",
        "unknown_status",
        waits=True,
        stand_in="integrity_participant_status_known",
    ),
    _check(
        "quests_quest",
        "integrity_quest_status_known",
        "status::text = any ('{open,in-progress,completed}')",
        "unknown_status",
        waits=True,
        stand_in="integrity_quest_status_known",
    ),
    _foreign_key(
        "applications_application",
        "integrity_approved_application_has_participant",
        "quest_id, applicant_id, integrity_approved",
        "public.quests_questparticipant (quest_id, user_id, integrity_active)",
        "integrity_active_participant_key",
        "approved_without_participant",
        stand_in="integrity_end_outlived",
    ),
    _foreign_key(
        "quests_quest",
        "integrity_assignee_is_participant",
        "id, assigned_to_id, integrity_assigned",
        "public.quests_questparticipant (quest_id, user_id, integrity_active)",
        "integrity_active_participant_key",
        "assignee_not_participant",
    ),
    _foreign_key(
        "quests_questparticipant",
        "integrity_participant_has_assigned_quest",
        "quest_id, integrity_active",
        "public.quests_quest (id, integrity_assigned)",
        "integrity_quest_key",
        "unassigned_quest_with_participant",
    ),
)

# What can be attached now; what waits for rows to be repaired is left to `quest-integrity validate`.
ATTACHABLE = """
select statement
from integrity.law_status
where
  state = 'missing'
  and kind <> 'unique'
  and (not waits or integrity.law_obstacles(name) = 0)
order by position
"""


def upgrade() -> None:
    """Attach the constraints NOT VALID and the triggers."""
    record_law(LAW)
    install_all(FUNCTIONS)
    if is_offline():
        execute(f"do $$ declare step text; begin for step in {ATTACHABLE} loop execute step; end loop; end $$")
        install_all(MECHANISM + STAND_INS)
        return
    # Looked up before the lock: telling whether a status is unknown reads the whole table.
    statements = list(op.get_bind().scalars(sa.text(ATTACHABLE)))

    def attach() -> None:
        for statement in statements:
            execute(statement)
        install_all(MECHANISM + STAND_INS)

    under_lock(TABLES, attach)


def downgrade() -> None:
    """Detach the triggers and the constraints."""

    def detach() -> None:
        remove_all(MECHANISM + STAND_INS)
        for row in reversed(LAW):
            execute(f"alter table public.{row['relation']} drop constraint if exists {row['name']}")

    under_lock(TABLES, detach)
    remove_all(FUNCTIONS)
    forget_law([str(row["name"]) for row in LAW])
