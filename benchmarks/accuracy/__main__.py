"""How accurate the methods are with few and with many labels: `python -m benchmarks.accuracy`.

Every run is what a job does: the same crops, steps and schedule for each method, the epoch chosen on validation. A
quarter of the pictures is held out. Seeds from 100 on are for tuning: they are judged on other pictures and never see
that quarter. Rows that are there already are not made again, so a run that was stopped goes on where it was.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from rich.console import Console

from benchmarks.accuracy.contest import Place, make_spec, run
from benchmarks.accuracy.folds import HELD_OUT_SHARE
from benchmarks.accuracy.rows import Row, Setup, append_row, read_rows
from benchmarks.accuracy.sources import write_elpv, write_folder
from benchmarks.accuracy.summary import draw_plot, print_tables
from cli.bundled_backbone import BUNDLED_NAME, find_bundled_weights
from core.inference.backbone_weights import convert_weights
from core.ingest.child import run_ingest
from core.ingest.limits import IngestLimits
from core.ingest.protocol import OUT_DIR, IngestJob

RESULTS = Path(__file__).parent.parent / "results"
COST = {"vanilla": 1.0, "linear_probe": 0.9, "bi_tuning": 1.4}  # of a step, for the estimate of the time left
console = Console(stderr=True)


def main() -> None:
    options = _parse_options()
    setups = _list_setups(options)
    done = {row.setup for row in read_rows(options.results)}
    _run_all([setup for setup in setups if setup not in done], options)
    rows = [row for row in read_rows(options.results) if row.setup in set(setups)]
    print_tables(rows)
    if options.plot is not None:
        draw_plot(rows, options.plot)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--dataset", nargs="+", default=["elpv"], metavar=("NAME", "PATH"), help="elpv, or: folder PATH"
    )
    parser.add_argument("--task", type=int, choices=[2, 8], default=2, help="classes of elpv")
    parser.add_argument("--fractions", type=int, nargs="+", default=[25, 50, 75, 100], help="percent")
    methods = ["vanilla", "linear_probe", "bi_tuning"]
    parser.add_argument("--methods", nargs="+", choices=methods, default=methods)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="from 100 on: for tuning")
    parser.add_argument("--backbone", default=BUNDLED_NAME)
    parser.add_argument("--weights", type=Path, help="of the backbone; the bundled one brings its own")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="fields of `method` or `training`")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1, help="runs side by side")
    parser.add_argument("--results", type=Path, default=RESULTS / "accuracy.jsonl")
    parser.add_argument("--plot", type=Path, help="a picture of the table, as PNG or SVG")
    return parser.parse_args()


def _list_setups(options: argparse.Namespace) -> list[Setup]:
    """Seed by seed, so that a part of the table is a table."""
    dataset = "elpv" if options.dataset == ["elpv"] else Path(options.dataset[1]).name
    setups = [
        Setup(
            dataset=dataset,
            task=options.task if dataset == "elpv" else len(_list_folders(Path(options.dataset[1]))),
            percent=percent,
            method=method,
            options=" ".join(sorted(options.set)),
            seed=seed,
            backbone=options.backbone,
            image_size=options.image_size,
        )
        for seed, percent, method in product(options.seeds, options.fractions, options.methods)
    ]
    for setup in setups:
        make_spec(setup)  # a mistake in --set is told before hours of work
    return setups


def _list_folders(path: Path) -> list[Path]:
    return [child for child in path.iterdir() if child.is_dir()]


def _run_all(setups: list[Setup], options: argparse.Namespace) -> None:
    if not setups:
        return
    context = multiprocessing.get_context("spawn")
    with _prepare(options) as place, ProcessPoolExecutor(options.workers, mp_context=context) as pool:
        progress = _Progress(setups)
        for future in as_completed([pool.submit(run, setup, place) for setup in setups]):
            row = future.result()
            append_row(options.results, row)
            progress.tell(row)


@contextmanager
def _prepare(options: argparse.Namespace) -> Iterator[Place]:
    """Imports the pictures as the service does, and decodes nothing yet."""
    with tempfile.TemporaryDirectory(prefix="bitune-accuracy-") as name:
        folder = Path(name)
        archive = folder / "pictures.zip"
        if options.dataset == ["elpv"]:
            write_elpv(archive, options.task)
        else:
            write_folder(archive, Path(options.dataset[1]))
        job = IngestJob(archive=archive, limits=IngestLimits(), test_fraction=HELD_OUT_SHARE)
        imported = run_ingest(job, folder, should_stop=lambda: False, on_progress=lambda _: None)
        archive.unlink()
        weights = folder / "backbone.safetensors"
        convert_weights(options.weights or find_bundled_weights(), options.backbone, weights)
        yield Place(
            dataset_dir=folder / OUT_DIR,
            classes=[counts.name for counts in imported.classes],
            cache_dir=folder / "cache",
            weights=weights,
            device=options.device,
            num_threads=max(1, (os.cpu_count() or 1) // options.workers),
        )


class _Progress:
    """Says what came out, and when the rest will be there."""

    def __init__(self, setups: list[Setup]) -> None:
        self._left = sum(map(_estimate_cost, setups))
        self._done = 0.0
        self._began_at = time.monotonic()

    def tell(self, row: Row) -> None:
        cost = _estimate_cost(row.setup)
        self._left -= cost
        self._done += cost
        minutes = (time.monotonic() - self._began_at) / self._done * self._left / 60
        console.print(
            f"{row.dataset}-{row.task} {row.percent} % {row.method} {row.options} seed {row.seed}: "
            f"{100 * row.accuracy:.1f} % ({row.steps} steps, {row.seconds:.0f} s), {minutes:.0f} min left"
        )


def _estimate_cost(setup: Setup) -> float:
    """Steps are nearly as many whatever the fraction, by the rule for "auto"; each epoch validates."""
    return COST[setup.method] * setup.image_size**2


if __name__ == "__main__":
    main()
