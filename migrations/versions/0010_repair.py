"""Repair and undo: one function per repairable rule, run in batches; every changed row is recorded.

Locks: none on an app table. A repair locks the quest rows of one batch for the length of its transaction.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from migrations.sql_objects import install_all, remove_all

revision = "0010_repair"
down_revision = "0009_validate"
branch_labels = None
depends_on = None

OBJECTS = (
    "repair/participant_reference",
    "repair/quest_rows",
    "repair/unvouched_approval",
    "repair/pause_mechanism",
    "repair/end_applications",
    "repair/derive_locked_quests",
    "rules/duplicate_participant/repair",
    "rules/duplicate_approval/repair",
    "rules/approved_without_participant/repair",
    "rules/open_quest_with_participant/repair",
    "rules/unassigned_quest_with_participant/repair",
    "rules/open_quest_with_approval/repair",
    "rules/assignee_not_participant/repair",
    "rules/in_progress_without_participant/repair",
    "repair/insert_application",
    "rules/participant_without_approval/repair",
    "repair/repair_order",
    "repair/start_repair",
    "repair/plan_repair",
    "repair/record_changes",
    "repair/lock_quests",
    "repair/check_law",
    "repair/violated_constraint",
    "repair/plan_violation",
    "repair/repair_batch",
    "repair/repair_violation",
    "repair/repair_effect",
    "repair/restore_row",
    "repair/start_undo",
    "repair/undo_quest",
    "repair/undo_batch",
)


def upgrade() -> None:
    """Create the tables of repair runs and the functions."""
    op.create_table(
        "repair_run",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.text("clock_timestamp()"),
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("options", JSONB, nullable=False),
        sa.Column("undoes", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="repair_run_pkey"),
        sa.ForeignKeyConstraint(["undoes"], ["integrity.repair_run.id"], name="repair_run_undoes_fk"),
        sa.CheckConstraint("kind in ('repair', 'undo')", name="repair_run_kind_known"),
        schema="integrity",
        comment="Repairs and undos: who ran what, when and why.",
    )
    op.create_table(
        "repair_item",
        sa.Column("run", sa.BigInteger, nullable=False),
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("quest_id", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.Text),
        sa.Column("detail", sa.Text),
        sa.PrimaryKeyConstraint("run", "number", name="repair_item_pkey"),
        sa.ForeignKeyConstraint(["run"], ["integrity.repair_run.id"], name="repair_item_run_fk"),
        sa.CheckConstraint(
            "outcome in ('repaired', 'gone', 'refused', 'undecided', 'undone', 'partly undone', 'changed since')",
            name="repair_item_outcome_known",
        ),
        schema="integrity",
        comment="The violations to repair or quests to undo of a run, each with its outcome, NULL until it is done.",
    )
    op.create_table(
        "repair_change",
        sa.Column("run", sa.BigInteger, nullable=False),
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("rule", sa.Text),
        sa.Column("quest_id", sa.BigInteger, nullable=False),
        sa.Column("relation", sa.Text, nullable=False),
        sa.Column("row_key", JSONB, nullable=False),
        sa.Column("before", JSONB),
        sa.Column("after", JSONB),
        sa.PrimaryKeyConstraint("run", "number", name="repair_change_pkey"),
        sa.ForeignKeyConstraint(["run"], ["integrity.repair_run.id"], name="repair_change_run_fk"),
        schema="integrity",
        comment="Every row that a repair or undo changed: the whole row before and after.",
    )
    op.create_index("repair_change_run_quest_id_idx", "repair_change", ["run", "quest_id"], schema="integrity")
    install_all(OBJECTS)


def downgrade() -> None:
    """Drop the functions and the tables with all repair runs."""
    remove_all(OBJECTS)
    for table in ("repair_change", "repair_item", "repair_run"):
        op.drop_table(table, schema="integrity")
