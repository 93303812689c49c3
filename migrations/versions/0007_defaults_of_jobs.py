"""jobs of before say the crops and the batch norm of when they were posted"""

from collections.abc import Sequence

from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute(
        "update jobs set spec = jsonb_set(spec, '{training}', spec->'training' || "
        """'{"batch_norm": "batch", "min_crop_area": 0.2}')"""
        " where resolved_spec is null and not spec->'training' ? 'batch_norm'"
    )
    op.execute(
        "update jobs set resolved_spec = jsonb_set(resolved_spec, '{training}', resolved_spec->'training' || "
        """'{"batch_norm": "batch", "min_crop_area": 0.2}')"""
        " where not resolved_spec->'training' ? 'batch_norm'"
    )


def downgrade() -> None:
    """A temperature of "auto" becomes the default of before."""
    op.execute(
        "update jobs set spec = case when spec #>> '{method,temperature}' = 'auto'"
        " then jsonb_set(spec, '{method,temperature}', '0.07') else spec end"
        " #- '{training,batch_norm}' #- '{training,min_crop_area}',"
        " resolved_spec = resolved_spec #- '{training,batch_norm}' #- '{training,min_crop_area}'"
    )
