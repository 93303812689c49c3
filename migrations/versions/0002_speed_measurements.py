"""speed measurements"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "speed_measurements",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("workload", sa.String(length=64), nullable=False),
        sa.Column("probe", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("speed", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id", "run_id"],
            ["runs.project_id", "runs.id"],
            name=op.f("fk_speed_measurements_project_id_run_id"),
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_speed_measurements")),
    )
    op.create_index("ix_speed_measurements_workload", "speed_measurements", ["workload", "measured_at"], unique=False)
    op.add_column("jobs", sa.Column("estimate", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.drop_constraint(op.f("ck_runs_kind"), "runs", type_="check")
    op.create_check_constraint(op.f("ck_runs_kind"), "runs", "kind in ('import','train','probe')")


def downgrade() -> None:
    op.execute("delete from speed_measurements")
    op.execute("delete from run_events where run_id in (select id from runs where kind = 'probe')")
    op.execute("delete from attempts where run_id in (select id from runs where kind = 'probe')")
    op.execute("delete from runs where kind = 'probe'")
    op.drop_constraint(op.f("ck_runs_kind"), "runs", type_="check")
    op.create_check_constraint(op.f("ck_runs_kind"), "runs", "kind in ('import','train')")
    op.drop_column("jobs", "estimate")
    op.drop_index("ix_speed_measurements_workload", table_name="speed_measurements")
    op.drop_table("speed_measurements")
