"""uploads in parts, their expiry, the size of a dataset's archive"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("uploads", sa.Column("part_bytes", sa.BigInteger(), nullable=True))
    op.add_column("uploads", sa.Column("expected_sha256", sa.String(length=64), nullable=True))
    op.add_column("datasets", sa.Column("archive_size_bytes", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_uploads_expires_at", "uploads", ["expires_at"], postgresql_where=sa.text("expires_at is not null")
    )
    op.create_index("uq_datasets_upload_id", "datasets", ["upload_id"], unique=True)
    op.execute(
        "update datasets set archive_size_bytes = uploads.size_bytes, sha256 = uploads.sha256"
        " from uploads where uploads.id = datasets.upload_id"
    )
    op.execute(
        "update uploads set expires_at = clock_timestamp() + interval '1 day'"
        " where not exists (select from datasets where datasets.upload_id = uploads.id)"
    )


def downgrade() -> None:
    op.drop_index("uq_datasets_upload_id", table_name="datasets")
    op.drop_index("ix_uploads_expires_at", table_name="uploads")
    op.drop_column("datasets", "archive_size_bytes")
    op.drop_column("uploads", "expected_sha256")
    op.drop_column("uploads", "part_bytes")
