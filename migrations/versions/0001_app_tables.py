"""The app's tables: created on an empty database, only checked on a live one.

Locks: on an existing app table ACCESS SHARE only, while the fit check reads the statuses in use.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from checks.errors import UserError
from migrations.options import app_schema, created_tables, is_offline
from migrations.sql_objects import app_search_path, execute, install_all, remove_all
from migrations.steps import refuse_to_drop_tables, under_lock

revision = "0001_app_tables"
down_revision = None
branch_labels = None
depends_on = None

Moment = sa.DateTime(timezone=True)

TABLES = (
    "users_user",
    "quests_questcategory",
    "quests_quest",
    "applications_application",
    "quests_questparticipant",
)

INDEXES = (
    ("quests_quest_status_difficulty_idx", "quests_quest", ["status", "difficulty"]),
    ("quests_quest_creator_id_status_idx", "quests_quest", ["creator_id", "status"]),
    ("quests_quest_assigned_to_id_status_idx", "quests_quest", ["assigned_to_id", "status"]),
    ("quests_quest_created_at_idx", "quests_quest", ["created_at"]),
    ("quests_quest_assigned_to_id_idx", "quests_quest", ["assigned_to_id"]),
    ("quests_quest_category_id_idx", "quests_quest", ["category_id"]),
    ("quests_quest_creator_id_idx", "quests_quest", ["creator_id"]),
    ("applications_application_quest_id_status_idx", "applications_application", ["quest_id", "status"]),
    (
        "applications_application_applicant_id_status_idx",
        "applications_application",
        ["applicant_id", "status"],
    ),
    ("applications_application_applied_at_idx", "applications_application", ["applied_at"]),
    (
        "applications_application_quest_id_applicant_id_idx",
        "applications_application",
        ["quest_id", "applicant_id"],
    ),
    ("applications_application_applicant_id_idx", "applications_application", ["applicant_id"]),
    ("applications_application_quest_id_idx", "applications_application", ["quest_id"]),
    ("applications_application_reviewed_by_id_idx", "applications_application", ["reviewed_by_id"]),
    ("quests_questparticipant_quest_id_status_idx", "quests_questparticipant", ["quest_id", "status"]),
    ("quests_questparticipant_user_id_status_idx", "quests_questparticipant", ["user_id", "status"]),
    ("quests_questparticipant_quest_id_idx", "quests_questparticipant", ["quest_id"]),
    ("quests_questparticipant_user_id_idx", "quests_questparticipant", ["user_id"]),
)


# All are built in: a trigger, a rule or a repair names each.
STATUSES = {
    "applications_application": ("pending", "approved", "rejected", "kicked"),
    "quests_questparticipant": ("joined", "in_progress", "completed", "dropped"),
    "quests_quest": ("open", "in-progress", "completed"),
}

FIT = (
    "adoption/needed_column",
    "adoption/column_mismatch",
    "adoption/is_distributed",
    "adoption/distribution_mismatches",
    "adoption/schema_mismatches",
)


def _identity() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger, sa.Identity(always=False), nullable=False)


def _app_key(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [f"{target}.id"], name=f"{table}_{column}_fk", deferrable=True, initially="DEFERRED"
    )


def create_app_tables() -> None:
    """Create the tables as Django creates them."""
    op.create_table(
        "users_user",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("password", sa.String(128), nullable=False),
        sa.Column("last_login", Moment),
        sa.Column("is_superuser", sa.Boolean, nullable=False),
        sa.Column("username", sa.String(150), nullable=False),
        sa.Column("first_name", sa.String(150), nullable=False),
        sa.Column("last_name", sa.String(150), nullable=False),
        sa.Column("is_staff", sa.Boolean, nullable=False),
        sa.Column("is_active", sa.Boolean, nullable=False),
        sa.Column("date_joined", Moment, nullable=False),
        sa.Column("email", sa.String(254), nullable=False),
        sa.PrimaryKeyConstraint("id", name="users_user_pkey"),
        sa.UniqueConstraint("username", name="users_user_username_key"),
        sa.UniqueConstraint("email", name="users_user_email_key"),
    )
    op.create_table(
        "quests_questcategory",
        _identity(),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("created_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="quests_questcategory_pkey"),
    )
    op.create_table(
        "quests_quest",
        _identity(),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("difficulty", sa.String(10), nullable=False),
        sa.Column("status", sa.String(15), nullable=False),
        sa.Column("xp_reward", sa.Integer, nullable=False),
        sa.Column("gold_reward", sa.Integer, nullable=False),
        sa.Column("commission_fee", sa.Integer, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        sa.Column("due_date", sa.Date),
        sa.Column("completed_at", Moment),
        sa.Column("requirements", sa.Text, nullable=False),
        sa.Column("resources", sa.Text, nullable=False),
        sa.Column("slug", sa.String(250), nullable=False),
        sa.Column("is_deleted", sa.Boolean, nullable=False),
        sa.Column("assigned_to_id", sa.Uuid),
        sa.Column("category_id", sa.BigInteger, nullable=False),
        sa.Column("creator_id", sa.Uuid, nullable=False),
        sa.PrimaryKeyConstraint("id", name="quests_quest_pkey"),
        sa.UniqueConstraint("slug", name="quests_quest_slug_key"),
        sa.CheckConstraint("xp_reward >= 0", name="quests_quest_xp_reward_check"),
        sa.CheckConstraint("gold_reward >= 0", name="quests_quest_gold_reward_check"),
        sa.CheckConstraint("commission_fee >= 0", name="quests_quest_commission_fee_check"),
        _app_key("quests_quest", "assigned_to_id", "users_user"),
        _app_key("quests_quest", "category_id", "quests_questcategory"),
        _app_key("quests_quest", "creator_id", "users_user"),
    )
    op.create_table(
        "applications_application",
        _identity(),
        sa.Column("status", sa.String(15), nullable=False),
        sa.Column("applied_at", Moment, nullable=False),
        sa.Column("reviewed_at", Moment),
        sa.Column("applicant_id", sa.Uuid, nullable=False),
        sa.Column("quest_id", sa.BigInteger, nullable=False),
        sa.Column("reviewed_by_id", sa.Uuid),
        sa.PrimaryKeyConstraint("id", name="applications_application_pkey"),
        _app_key("applications_application", "applicant_id", "users_user"),
        _app_key("applications_application", "quest_id", "quests_quest"),
        _app_key("applications_application", "reviewed_by_id", "users_user"),
    )
    op.create_table(
        "quests_questparticipant",
        _identity(),
        sa.Column("status", sa.String(15), nullable=False),
        sa.Column("joined_at", Moment, nullable=False),
        sa.Column("progress_notes", sa.Text, nullable=False),
        sa.Column("completed_at", Moment),
        sa.Column("application_id", sa.BigInteger),
        sa.Column("application_date", Moment),
        sa.Column("application_message", sa.Text),
        sa.Column("review_notes", sa.Text),
        sa.Column("reviewed_at", Moment),
        sa.Column("quest_id", sa.BigInteger, nullable=False),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.PrimaryKeyConstraint("id", name="quests_questparticipant_pkey"),
        sa.UniqueConstraint("quest_id", "user_id", name="quests_questparticipant_quest_id_user_id_key"),
        _app_key("quests_questparticipant", "quest_id", "quests_quest"),
        _app_key("quests_questparticipant", "user_id", "users_user"),
    )
    for name, table, columns in INDEXES:
        op.create_index(name, table, columns)


def _refuse_unfit() -> None:
    mismatches = op.get_bind().execute(
        sa.text("select subject, found, expected from integrity.schema_mismatches(:schema)"),
        {"schema": app_schema()},
    )
    lines = [f"  {subject}: found {found}; expected {expected}" for subject, found, expected in mismatches]
    if lines:
        raise UserError(
            "The app's tables do not fit the integrity layer; nothing was changed. Fix these, then run it again:\n"
            + "\n".join(lines)
        )


def upgrade() -> None:
    """Create the app's tables on an empty database; check those that exist."""
    op.create_table(
        "installation",
        sa.Column("singleton", sa.Boolean, nullable=False, server_default=sa.text("true")),
        sa.Column("app_schema", sa.Text, nullable=False),
        sa.Column("created_tables", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("installed_at", Moment, nullable=False, server_default=sa.text("now()")),
        sa.PrimaryKeyConstraint("singleton", name="installation_pkey"),
        sa.CheckConstraint("singleton", name="installation_is_one_row"),
        schema="integrity",
        comment="The schema of the app's tables, and which of them the migrations created. One row.",
    )
    status = op.create_table(
        "status",
        sa.Column("relation", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("built_in", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("relation", "status", name="status_pkey"),
        schema="integrity",
        comment="The statuses that rows of the app may have. built_in: the layer itself works with it. Others are "
        "added with integrity.add_status().",
    )
    op.bulk_insert(
        status,
        [
            {"relation": relation, "status": name, "position": position, "built_in": True}
            for relation, names in STATUSES.items()
            for position, name in enumerate(names, start=1)
        ],
    )
    install_all(FIT)
    existing = set() if is_offline() else set(sa.inspect(op.get_bind()).get_table_names(schema=app_schema()))
    created = not existing & set(TABLES)
    if created:
        with app_search_path():
            create_app_tables()
    else:
        _refuse_unfit()
    names = ", ".join(f"'{name}'" for name in TABLES) if created else ""
    schema = app_schema().replace("'", "''")
    op.execute(
        f"insert into integrity.installation (app_schema, created_tables) values ('{schema}', array[{names}]::text[])"
    )


def downgrade() -> None:
    """Drop the app's tables that these migrations created, see `refuse_to_drop_tables`, and the layer's own."""
    dropped = [] if is_offline() else created_tables(op.get_bind())

    def drop() -> None:
        # Check again under the lock: a row can have been inserted since the downgrade began.
        refuse_to_drop_tables(op.get_bind())
        for name in reversed(dropped):
            execute(f"drop table public.{name}")

    if dropped:
        under_lock(dropped, drop)
    remove_all(FIT)
    op.drop_table("status", schema="integrity")
    op.drop_table("installation", schema="integrity")
