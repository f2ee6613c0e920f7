"""The guards: the table of a manifest of every object of ours, and the view that compares it with the catalog.

The last revision of all fills it in, once, with record_guards(): reading the whole catalog is a third of an upgrade.

Locks: ACCESS EXCLUSIVE on the event log when the new objects get their owner; none on an app table.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from migrations.sql_objects import install_all, remove_all
from migrations.steps import hand_over

revision = "0012_guards"
down_revision = "0011_roles"
branch_labels = None
depends_on = None

DETACHING = (
    "adoption/dependent",
    "adoption/detach",
    "adoption/attachment",
    "adoption/settle_attachment",
)

OBJECTS = (
    "guards/guard_relation",
    "guards/guard_table",
    "guards/guard_column",
    "guards/guard_function",
    "guards/guard_view",
    "guards/guard_trigger",
    "guards/guard_constraint",
    "guards/guard_other",
    "guards/guard_found",
    "guards/guard_manifest",
    "guards/guard_compared",
    "guards/guard_fit",
    "guards/guard_detached",
    "guards/node_damage",
    "guards/guard_status",
    "guards/guard_gap",
    "guards/added_entry",
    "guards/guard_portable",
    "guards/seal_guards",
    "guards/row_statement",
    "guards/record_guards",
    "guards/rewrite_guards",
    "guards/settle_guards",
    "guards/expect_roles",
    "guards/made_up_row",
    "guards/probe_approval",
    # They write the manifest too.
    "law/rows_with_status",
    "law/lock_statuses",
    "law/replace_statuses",
    "law/add_status",
    "law/remove_status",
    "law/law_on_request",
    "law/choose_law",
    "law/enforce",
    "law/relax",
)


def upgrade() -> None:
    """Create the manifest, without an entry."""
    op.create_table(
        "guard",
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("identity", sa.Text, nullable=False),
        sa.Column("expected", postgresql.JSONB, nullable=False),
        sa.Column("definition", sa.Text),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("waiting", sa.Boolean, nullable=False),
        sa.Column("stands_in_for", sa.Text),
        sa.PrimaryKeyConstraint("kind", "identity", name="guard_pkey"),
        schema="integrity",
        comment="The manifest: what each object of the layer must be. Written by integrity.record_guards().",
    )
    op.create_table(
        "detached_object",
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("identity", sa.Text, nullable=False),
        sa.Column("depth", sa.Integer, nullable=False),
        sa.Column("definition", sa.Text),
        sa.Column("owner", sa.Text),
        sa.Column("grants", postgresql.JSONB),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")),
        sa.PrimaryKeyConstraint("kind", "identity", name="detached_object_pkey"),
        schema="integrity",
        comment="What integrity.detach() dropped and nobody has put back. Empty while the layer is attached.",
    )
    install_all(OBJECTS + DETACHING)
    hand_over(revision)


def downgrade() -> None:
    """Drop the manifest and everything that reads it."""
    remove_all(OBJECTS + DETACHING)
    op.drop_table("detached_object", schema="integrity")
    op.drop_table("guard", schema="integrity")
