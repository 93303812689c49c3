from io import StringIO

from rich.console import Console

from tests.chaos.report import FaultRow, Totals, last_line, print_table, render_markdown

CLEAN = Totals(lost=0, doubled=0, corrupted=0, different=0)


def make_row(fault: str, *, injected: int = 0, worst: float | None = None) -> FaultRow:
    return FaultRow(
        fault=fault,
        injected=injected,
        jobs=2,
        lost=0,
        doubled=0,
        corrupted=0,
        different=1,
        worst_recovery_seconds=worst,
    )


def test_markdown_is_aligned() -> None:
    rows = [make_row("kill -9 of the trainer", injected=1200, worst=7.25), make_row("stop")]

    assert render_markdown(rows) == (
        "| fault                  | injected | jobs | lost | doubled | corrupted | different | worst recovery (s) |\n"
        "|------------------------|---------:|-----:|-----:|--------:|----------:|----------:|-------------------:|\n"
        "| kill -9 of the trainer |     1200 |    2 |    0 |       0 |         0 |         1 |                7.2 |\n"
        "| stop                   |        0 |    2 |    0 |       0 |         0 |         1 |                  - |\n"
    )


def test_markdown_of_no_fault_is_a_head() -> None:
    assert len(render_markdown([]).splitlines()) == 2


def test_terminal_shows_every_row() -> None:
    console = Console(file=StringIO(), width=120)

    print_table([make_row("first", worst=0.5), make_row("second")], console)

    assert isinstance(console.file, StringIO)
    shown = console.file.getvalue()
    assert all(word in shown for word in ("first", "0.5", "second", "different"))


def test_last_line_says_the_totals() -> None:
    assert last_line(CLEAN, faults=470) == "lost=0 doubled=0 corrupted=0 different=0 faults=470"
