"""quotas of projects; the URL of a dataset is kept whole only until its bytes are there"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

KEEP_UNFETCHED = """
    insert into import_sources (run_id, url)
    select datasets.run_id, datasets.source_url
    from datasets
    join runs on runs.id = datasets.run_id
    join uploads on uploads.id = datasets.upload_id
    where datasets.source_url is not null and uploads.completed_at is null
      and runs.status not in ('succeeded', 'failed', 'cancelled')
"""
MASK = (
    "update datasets set source_url = left(regexp_replace(source_url, '[?#].*$', '?…'), 2048) where source_url ~ '[?#]'"
)
UNMASK = """
    update datasets set source_url = import_sources.url
    from import_sources where import_sources.run_id = datasets.run_id
"""


def upgrade() -> None:
    op.create_table(
        "project_quotas",
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=30), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("value >= 0", name=op.f("ck_project_quotas_value")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_project_quotas_project_id")),
        sa.PrimaryKeyConstraint("project_id", "name", name=op.f("pk_project_quotas")),
    )
    op.create_table(
        "import_sources",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("url", sa.String(length=2048), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_import_sources_run_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_import_sources")),
    )
    op.execute(KEEP_UNFETCHED)
    op.execute(MASK)


def downgrade() -> None:
    """What was masked stays masked: the whole URL is nowhere any more."""
    op.execute(UNMASK)
    op.drop_table("import_sources")
    op.drop_table("project_quotas")
