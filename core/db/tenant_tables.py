"""Tables of tenancy beside `tables.py`: quotas that differ from the settings, and URLs that wait to be fetched."""

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from core.db.base import Base, Bytes, Created, Id, PrimaryId

RUNNING_JOBS = "running_jobs"  # the quota that claims look at


class ProjectQuota(Base):
    """A project's own value of one quota; where there is no row, the setting holds."""

    __tablename__ = "project_quotas"
    __table_args__ = (CheckConstraint("value >= 0", name="value"),)

    project_id: Mapped[Id] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(30), primary_key=True)  # core.quotas.QuotaName
    value: Mapped[Bytes | None]  # None is no limit
    created_at: Mapped[Created]


class ImportSource(Base):
    """The whole URL of a dataset, which may carry a signature: it goes once the bytes are in the store."""

    __tablename__ = "import_sources"

    run_id: Mapped[PrimaryId] = mapped_column(ForeignKey("runs.id"))
    url: Mapped[str] = mapped_column(String(2048))
