"""The law and the mechanism, added in one short transaction, so that no write meets only a part of them.

Locks: ACCESS EXCLUSIVE on the three tables together, for milliseconds: CHECKs and foreign keys are NOT VALID, so no row
is read. Each attempt waits at most lock-timeout; between attempts no lock is held.
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

# In the order in which an approval of the app writes them.
TABLES = ("applications_application", "quests_questparticipant", "quests_quest")

# Called by triggers; installed without a lock on a table.
FUNCTIONS = (
    "law/known_statuses",
    "law/status_check",
    "law/refuse_unknown_status",
    "mechanism/mechanism_is_off",
    "mechanism/repeats_own_transaction",
    "law/stand_in_for_statuses",
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
# Dropped when their constraints are enforced: on an empty database by 0009_validate.
STAND_INS = (
    "law/quest_heal",
    "law/end_outlived_approvals",
    "law/refuse_second_approval",
)


STATUSES_KNOWN = {
    "applications_application": "integrity_application_status_known",
    "quests_questparticipant": "integrity_participant_status_known",
    "quests_quest": "integrity_quest_status_known",
}


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


# PostgreSQL reads every CHECK of a table again for each statement, in a time that grows with the expression. So they
# are as short as possible: one comparison and one constant where that is enough. The cast makes PostgreSQL print a list
# the same way after a dump and restore.
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
        "open_quest_with_approval",
        "assignee_not_participant",
        stand_in="integrity_heal",
    ),
    # These wait until no row has an unknown status, because the app must be able to save such a row unchanged. Their
    # definition is filled in from integrity.status.
    *(
        _check(relation, name, "", "unknown_status", waits=True, stand_in=name)
        for relation, name in STATUSES_KNOWN.items()
    ),
    _foreign_key(
        "applications_application",
        "integrity_approved_application_has_participant",
        "quest_id, applicant_id, integrity_approved",
        "public.quests_questparticipant (quest_id, user_id, integrity_active)",
        "integrity_active_participant_key",
        "approved_without_participant",
        "open_quest_with_approval",
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

# What can be added now. What waits for rows to be repaired is left to `quest-integrity validate`.
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
    """Add the constraints NOT VALID, and the triggers."""
    record_law(LAW)
    install_all(FUNCTIONS)
    execute(
        "update integrity.law set definition = integrity.status_check(relation) where name like '%\\_status\\_known'"
    )
    if is_offline():
        execute(f"do $$ declare step text; begin for step in {ATTACHABLE} loop execute step; end loop; end $$")
        _install_triggers()
        return
    # Before the lock: law_obstacles() reads whole tables.
    statements = list(op.get_bind().scalars(sa.text(ATTACHABLE)))

    def attach() -> None:
        for statement in statements:
            execute(statement)
        _install_triggers()

    under_lock(TABLES, attach)


def _install_triggers() -> None:
    install_all(MECHANISM + STAND_INS)
    for relation in STATUSES_KNOWN:
        execute(f"select integrity.stand_in_for_statuses('{relation}')")


def downgrade() -> None:
    """Drop the triggers and the constraints."""

    def detach() -> None:
        for relation, name in STATUSES_KNOWN.items():
            execute(f"drop trigger if exists {name} on public.{relation}")
        remove_all(MECHANISM + STAND_INS)
        for row in reversed(LAW):
            execute(f"alter table public.{row['relation']} drop constraint if exists {row['name']}")

    under_lock(TABLES, detach)
    remove_all(FUNCTIONS)
    forget_law([str(row["name"]) for row in LAW])
