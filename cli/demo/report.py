"""What the demo leaves and says at its end."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cli.demo.cells import Cell, compute_majority_rate
from cli.demo.client import Series
from cli.demo.figure import count_confusion, write_figure

OUTPUT = Path("demo-output")


@dataclass(frozen=True)
class Outcome:
    model_id: str
    series: Series
    cells: list[Cell]  # kept aside
    predicted: list[str]


def write_report(outcome: Outcome, home: Path, console: Console) -> None:
    """The last line is for machines."""
    truth = [cell.label for cell in outcome.cells]
    confusion = count_confusion(truth, outcome.predicted)
    accuracy = float(confusion.trace() / confusion.sum())
    majority = compute_majority_rate(outcome.cells)
    figure = OUTPUT / "demo.png"
    write_figure(figure, outcome.series, confusion, majority=majority)
    _say_how_to_go_on(outcome, home, console)
    console.print(f"Curves and confusion matrix: [bold]{figure}[/]")
    console.print(
        f"[bold]{accuracy:.1%}[/] of {len(truth)} cells that the model never saw are right; "
        f"always saying '{max(truth, key=truth.count)}' is right for {majority:.1%}.\n"
    )
    sys.stdout.write(f"accuracy={accuracy:.3f} majority={majority:.3f}\n")


def _say_how_to_go_on(outcome: Outcome, home: Path, console: Console) -> None:
    sample = shutil.copy(outcome.cells[0].path, OUTPUT / "cell.png")
    bitune = _shorten(Path(sys.executable).parent / "bitune")
    console.print("\nGo on with this model, in two terminals:\n")
    console.print(f"  {bitune} up --home {home}\n", highlight=False, soft_wrap=True)
    console.print(
        f'  curl -H "Authorization: Bearer $(cat {home / "key"})" \\\n'
        f"    -F files=@{sample} http://127.0.0.1:8000/models/{outcome.model_id}/predict\n",
        highlight=False,
        soft_wrap=True,
    )


def _shorten(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
