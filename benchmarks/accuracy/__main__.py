"""How accurate the methods are with few and with many labels: `python -m benchmarks.accuracy`.

Every run is what a job does: the same crops, steps and schedule for each method, the epoch chosen on validation. A
quarter of the pictures is held out. Seeds from 100 on are for tuning: they are judged on other pictures and never see
that quarter. Rows that are there already are not made again, so a run that was stopped goes on where it was.
"""

import argparse
import hashlib
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager
from itertools import product
from pathlib import Path

from rich.console import Console

from benchmarks.accuracy.contest import Place, make_spec, run
from benchmarks.accuracy.places import open_place
from benchmarks.accuracy.prototypes import check_prototype
from benchmarks.accuracy.rows import RECIPE, Row, Setup, append_row, read_current_rows
from benchmarks.accuracy.sources import write_elpv, write_folder
from benchmarks.accuracy.summary import draw_plot, print_tables
from cli.bundled_backbone import BUNDLED_NAME, find_bundled_weights
from core.inference.backbone_weights import convert_weights
from core.ingest.sandbox import die_by_signal

RESULTS = Path(__file__).parent.parent / "results"
COST = {"vanilla": 1.0, "linear_probe": 0.9, "bi_tuning": 1.4}  # of a step, for the estimate of the time left
console = Console(stderr=True)


def main() -> None:
    options = _parse_options()
    with tempfile.TemporaryDirectory(prefix="bitune-accuracy-") as folder:
        weights = Path(folder) / "backbone.safetensors"
        convert_weights(options.weights or find_bundled_weights(), options.backbone, weights)
        setups = _list_setups(options, weights_sha256=_digest(weights))
        done = {row.setup for row in read_current_rows(options.results)}
        failed = _run_all([setup for setup in setups if setup not in done], options, weights)
    rows = read_current_rows(options.results)
    wanted = [row for row in rows if row.setup in set(setups)]
    print_tables(wanted, rows)
    if options.plot is not None:
        arenas = {row.arena for row in wanted}
        if len(arenas) != 1:
            sys.exit("--plot needs rows of one dataset, size and fold")
        draw_plot([row for row in rows if row.arena in arenas], options.plot)
    sys.exit(f"{failed} runs failed" if failed else 0)


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
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="fields of `method` or `training`, or prototype=NAME"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1, help="runs side by side")
    parser.add_argument("--results", type=Path, default=RESULTS / "accuracy.jsonl")
    parser.add_argument("--plot", type=Path, help="PNG or SVG of all that is known of the defaults on this data")
    options = parser.parse_args()
    if options.dataset != ["elpv"] and (len(options.dataset) != 2 or options.dataset[0] != "folder"):
        parser.error("--dataset is elpv, or: folder PATH")
    return options


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _list_setups(options: argparse.Namespace, *, weights_sha256: str) -> list[Setup]:
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
            weights_sha256=weights_sha256,
            image_size=options.image_size,
            device=options.device,
            recipe=RECIPE,
        )
        for seed, percent, method in product(options.seeds, options.fractions, options.methods)
    ]
    for setup in setups:
        make_spec(setup)  # a mistake in --set is told before hours of work
        check_prototype(setup)
    return setups


def _list_folders(path: Path) -> list[Path]:
    return [child for child in path.iterdir() if child.is_dir()]


def _run_all(setups: list[Setup], options: argparse.Namespace, weights: Path) -> int:
    """Returns how many failed: one that diverges costs no other its result."""
    if not setups:
        return 0
    failed = 0
    context = multiprocessing.get_context("spawn")
    with (
        _open(options, weights) as place,
        ProcessPoolExecutor(options.workers, context, die_by_signal) as pool,
    ):
        progress = _Progress(setups)
        futures = {pool.submit(run, setup, place): setup for setup in setups}
        for future in as_completed(futures):
            if error := future.exception():
                console.print(f"{futures[future]} failed: {error}")
                failed += 1
                continue
            append_row(options.results, future.result())
            progress.tell(future.result())
    return failed


def _open(options: argparse.Namespace, weights: Path) -> AbstractContextManager[Place]:
    def write(archive: Path) -> None:
        match options.dataset:
            case ["elpv"]:
                write_elpv(archive, options.task)
            case ["folder", path]:
                write_folder(archive, Path(path))

    return open_place(write, weights, num_threads=max(1, (os.cpu_count() or 1) // options.workers))


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
    """By the rule for "auto" a quarter of a few thousand pictures gets half as many steps as all of them."""
    return COST[setup.method] * setup.image_size**2 * (0.5 + min(0.5, setup.percent / 100))


if __name__ == "__main__":
    main()
