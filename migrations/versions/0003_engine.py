"""losses between checkpoints, GPUs of runs, reservations, what workers count, the installation, indexes"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("losses", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("runs", sa.Column("gpus", sa.SmallInteger(), nullable=True))
    op.add_column("runs", sa.Column("reserved_worker_id", sa.String(length=64), nullable=True))
    op.add_column("workers", sa.Column("left_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("workers", sa.Column("swept_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("workers", sa.Column("sweep_seconds", sa.Float(), nullable=True))
    op.add_column("workers", sa.Column("storage_errors", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.create_table(
        "installation",
        sa.Column("id", sa.SmallInteger(), server_default=sa.text("1"), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("collection_started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("orphans_collected_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_installation_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )

    op.drop_index("ix_runs_queued", table_name="runs")
    op.drop_index("ix_runs_running", table_name="runs")
    op.create_index(
        "ix_runs_queued",
        "runs",
        ["queue", "priority", "project_id", "id"],
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index("ix_runs_running", "runs", ["queue", "project_id"], postgresql_where=sa.text("status = 'running'"))
    op.create_index(
        "ix_runs_reserved",
        "runs",
        ["reserved_worker_id"],
        postgresql_where=sa.text("reserved_worker_id is not null"),
    )


def downgrade() -> None:
    op.drop_index("ix_runs_reserved", table_name="runs")
    op.drop_index("ix_runs_running", table_name="runs")
    op.drop_index("ix_runs_queued", table_name="runs")
    op.create_index(
        "ix_runs_running",
        "runs",
        ["project_id", "lease_expires_at"],
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_index(
        "ix_runs_queued", "runs", ["queue", "priority", "id"], postgresql_where=sa.text("status = 'queued'")
    )
    op.drop_table("installation")
    op.drop_column("workers", "storage_errors")
    op.drop_column("workers", "sweep_seconds")
    op.drop_column("workers", "swept_at")
    op.drop_column("workers", "left_at")
    op.drop_column("runs", "reserved_worker_id")
    op.drop_column("runs", "gpus")
    op.drop_column("runs", "losses")
