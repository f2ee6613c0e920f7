"""The unique key that allows one approved application per quest and applicant; what is enforced on request.

Added after the mechanism: without it a user who leaves keeps an approved application, and the key would refuse the next
approval of that user.

The constraints on request are listed only: integrity.enforce() asks for them.

Locks: as in 0006_keys; then DROP TRIGGER of the stand-in trigger takes ACCESS EXCLUSIVE for milliseconds.
"""

from migrations.sql_objects import execute, source
from migrations.steps import drop_key, each_alone, enforce, forget_law, record_law

revision = "0008_approval_key"
down_revision = "0007_law"
branch_labels = None
depends_on = None

KEY = {
    "name": "integrity_approved_application_key",
    "relation": "applications_application",
    "kind": "unique",
    "columns": "quest_id, applicant_id, integrity_approved",
    "waits": True,
    # Installed by 0007_law.
    "stand_in": "integrity_refuse_second_approval",
    "rules": ["duplicate_approval"],
}

# Each makes the violations of one rule impossible that is otherwise reported only.
ON_REQUEST: tuple[dict[str, object], ...] = (
    {
        # An approval has its participant, and with it a participant its approval.
        "name": "integrity_participant_has_approved_application",
        "relation": "quests_questparticipant",
        "kind": "foreign key",
        "definition": (
            "foreign key (quest_id, user_id, integrity_active) references public.applications_application "
            "(quest_id, applicant_id, integrity_approved) deferrable initially deferred"
        ),
        "requires": "integrity_approved_application_key",
        "rules": ["participant_without_approval"],
        "chosen": False,
    },
    {
        "name": "integrity_pending_application_key",
        "relation": "applications_application",
        "kind": "unique index",
        "columns": "quest_id, applicant_id",
        "definition": "where (status = 'pending')",
        "waits": True,
        "rules": ["duplicate_pending"],
        "chosen": False,
    },
    {
        "name": "integrity_quest_has_one_participant",
        "relation": "quests_questparticipant",
        "kind": "unique",
        "columns": "quest_id, integrity_active",
        "waits": True,
        "rules": ["quest_with_several_participants"],
        "chosen": False,
    },
)


def upgrade() -> None:
    """Build the key unless there are duplicates."""
    record_law([KEY, *ON_REQUEST])
    enforce([str(KEY["name"])])


def downgrade() -> None:
    """Create the stand-in trigger again, relax what was enforced on request and drop the keys."""
    each_alone([source("law/refuse_second_approval", 1)])
    for row in (*ON_REQUEST, KEY):
        drop_key(row)
    forget_law([str(row["name"]) for row in (*ON_REQUEST, KEY)])
    execute(
        "update integrity.rule set severity = relaxed_severity, relaxed_severity = null "
        "where relaxed_severity is not null"
    )
    # Not while the layer is detached.
    execute("select integrity.assemble_violations() where to_regclass('integrity.violations') is not null")
