"""The unique keys that the foreign keys of the law reference.

Locks: CREATE UNIQUE INDEX CONCURRENTLY takes SHARE UPDATE EXCLUSIVE, which blocks no reader or writer; ADD CONSTRAINT
USING INDEX takes ACCESS EXCLUSIVE for milliseconds. A key with duplicates is left to `quest-integrity validate`.
"""

import sqlalchemy as sa
from alembic import op

from migrations.options import is_offline
from migrations.sql_objects import driver, install_all, localize, remove_all
from migrations.steps import drop_key, enforce, record_law

revision = "0006_keys"
down_revision = "0005_backfill"
branch_labels = None
depends_on = None

OBJECTS = ("law/law_status", "law/law_obstacles")

KEYS = (
    {
        "name": "integrity_quest_key",
        "relation": "quests_quest",
        "kind": "unique",
        "columns": "id, integrity_assigned",
        "waits": True,
        "rules": [],
    },
    {
        "name": "integrity_active_participant_key",
        "relation": "quests_questparticipant",
        "kind": "unique",
        "columns": "quest_id, user_id, integrity_active",
        "waits": True,
        "rules": ["duplicate_participant"],
    },
)

# Only where the app has no unique key of its own.
PARTICIPANT_KEY = {
    "name": "integrity_participant_key",
    "relation": "quests_questparticipant",
    "kind": "unique",
    "columns": "quest_id, user_id",
    "waits": True,
    "rules": ["duplicate_participant"],
}


# SQL, since SQLAlchemy does not report whether an index is valid.
APPS_OWN_KEY = """
select exists (
  select
  from pg_index as key
  where
    key.indrelid = to_regclass('public.quests_questparticipant')
    and key.indisunique
    and key.indisvalid
    and key.indpred is null
    and key.indexrelid is distinct from to_regclass('integrity_participant_key')
    and (
      select array_agg(attribute.attname::text order by attribute.attname)
      from unnest(key.indkey[:key.indnkeyatts - 1]) as member (attnum)
      left join pg_attribute as attribute
        on attribute.attrelid = key.indrelid and attribute.attnum = member.attnum
    ) = array['quest_id', 'user_id']
)
"""


def _app_lacks_participant_key() -> bool:
    if is_offline():
        return False
    found = driver().execute(localize(APPS_OWN_KEY)).fetchone()
    return found == (False,)


def upgrade() -> None:
    """Add the keys to the law and build those that the rows allow."""
    op.create_table(
        "law",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("relation", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("columns", sa.Text),
        sa.Column("definition", sa.Text, nullable=False, server_default=sa.text("''")),
        sa.Column("requires", sa.Text),
        sa.Column("waits", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("stand_in", sa.Text),
        sa.Column("rules", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("position", sa.Integer, sa.Identity(always=True), nullable=False),
        sa.Column("chosen", sa.Boolean, server_default=sa.text("false")),
        sa.Column("built_in", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.PrimaryKeyConstraint("name", name="law_pkey"),
        sa.CheckConstraint("kind in ('unique', 'unique index', 'check', 'foreign key')", name="law_kind_known"),
        schema="integrity",
        comment=(
            "Every constraint of the law: which one it requires first, the rules whose violations prevent it, and "
            "whether somebody has chosen it (NULL: it is always enforced)."
        ),
        if_not_exists=True,
    )
    install_all(OBJECTS)
    keys = [*KEYS, PARTICIPANT_KEY] if _app_lacks_participant_key() else list(KEYS)
    record_law(keys)
    enforce([str(key["name"]) for key in keys])


def downgrade() -> None:
    """Drop the keys."""
    for key in (*KEYS, PARTICIPANT_KEY):
        drop_key(key)
    remove_all(OBJECTS)
    op.drop_table("law", schema="integrity", if_exists=True)
