"""Turns what an import does into the progress that its dataset shows."""

from collections.abc import Callable

from pydantic import BaseModel

from core.ingest.progress import ImportProgress, Stage
from core.ingest.protocol import IngestProgress

WEIGHTS: dict[Stage, int] = {"fetching": 4, "copying": 1, "reading": 1, "checking": 5, "storing": 1}  # in their order


class ProgressReporter:
    """One attempt. An archive that is in the store already has nothing to fetch."""

    def __init__(self, report: Callable[[BaseModel], None], *, fetches: bool) -> None:
        self._report = report
        self._weights = {stage: weight for stage, weight in WEIGHTS.items() if fetches or stage != "fetching"}
        self._archive_bytes = 0

    def fetch(self, done: int, total: int | None) -> None:
        self._count_bytes("fetching", done, total)

    def copy(self, done: int, total: int | None) -> None:
        self._archive_bytes = done
        self._count_bytes("copying", done, total)

    def store(self, done: int, total: int) -> None:
        self._count_bytes("storing", done, total)

    def follow(self, said: IngestProgress) -> None:
        """What the child says."""
        if said.stage == "reading":  # pictures hardly shrink in an archive: what was unpacked tells how far it is
            share = _divide(said.bytes_read, self._archive_bytes)
        else:
            share = _divide(said.done, said.total)
        self._report(
            ImportProgress(
                stage=said.stage,
                percent=self._sum_up(said.stage, share),
                bytes_done=said.bytes_read,
                members_done=said.done,
                members_total=said.total,
            )
        )

    def _count_bytes(self, stage: Stage, done: int, total: int | None) -> None:
        percent = self._sum_up(stage, _divide(done, total))
        self._report(ImportProgress(stage=stage, percent=percent, bytes_done=done, bytes_total=total))

    def _sum_up(self, stage: Stage, share: float) -> float:
        stages = list(self._weights)
        before = sum(self._weights[name] for name in stages[: stages.index(stage)])
        return round(100 * (before + share * self._weights[stage]) / sum(self._weights.values()), 1)


def _divide(done: int, total: int | None) -> float:
    return min(1.0, done / total) if total else 0.0
