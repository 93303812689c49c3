"""The table of a fault run: for the terminal, for `docs/reliability.md`, and its last line."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

HEADINGS = ["fault", "injected", "jobs", "lost", "doubled", "corrupted", "different", "worst recovery (s)"]
NOT_MEASURED = "-"


@dataclass(frozen=True, kw_only=True)
class FaultRow:
    """A violation counts for every fault that hit its job."""

    fault: str
    injected: int
    jobs: int
    lost: int
    doubled: int
    corrupted: int
    different: int
    worst_recovery_seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Each violation counts once."""

    lost: int
    doubled: int
    corrupted: int
    different: int


def render_markdown(rows: Sequence[FaultRow]) -> str:
    """Names to the left, numbers to the right, every column as wide as its widest cell."""
    lines = [HEADINGS, *(_make_cells(row) for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    rule = "|".join(["", "-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:]), ""])
    head, *body = (_render_line(cells, widths) for cells in lines)
    return "\n".join([head, rule, *body]) + "\n"


def print_table(rows: Sequence[FaultRow], console: Console) -> None:
    table = Table()
    table.add_column(HEADINGS[0])
    for heading in HEADINGS[1:]:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*_make_cells(row))
    console.print(table)


def last_line(totals: Totals, *, faults: int) -> str:
    return (
        f"lost={totals.lost} doubled={totals.doubled} corrupted={totals.corrupted} "
        f"different={totals.different} faults={faults}"
    )


def _make_cells(row: FaultRow) -> list[str]:
    counts = [row.injected, row.jobs, row.lost, row.doubled, row.corrupted, row.different]
    worst = NOT_MEASURED if row.worst_recovery_seconds is None else f"{row.worst_recovery_seconds:.1f}"
    return [row.fault, *map(str, counts), worst]


def _render_line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name = cells[0].ljust(widths[0])
    numbers = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return "| " + " | ".join([name, *numbers]) + " |"
