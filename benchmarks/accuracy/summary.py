"""Tables and a plot of what came out, with the differences that the same pictures and seeds show."""

from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.accuracy.rows import Row
from core.specs import OptimizationSpec

BASELINE = "vanilla"
NUM_RESAMPLES = 10_000
COLOURS = {"vanilla": "#777777", "linear_probe": "#c9a227", "bi_tuning": "#1f6f8b"}
mpl.use("Agg")


class Group(NamedTuple):
    """Runs that differ by their seed alone."""

    name: str  # of dataset, fold and picture size
    percent: int
    method: str
    options: str


class Difference(NamedTuple):
    """To vanilla, in percentage points, over the seeds that both have."""

    seeds: int
    mean: float
    low: float  # 95 % interval
    high: float


def print_tables(rows: list[Row], known: list[Row]) -> None:
    """Of `rows`; the baseline of an option that is the method's alone is found among the known ones."""
    console = Console(width=140)
    table = Table(
        "data", "labels", "train", "method", "options", "seeds", "steps", "accuracy %", "balanced %", "vs vanilla"
    )
    groups, baselines = group_rows(rows), group_rows(known)
    for group in sorted(groups):
        members = groups[group]
        table.add_row(
            group.name,
            f"{group.percent} %",
            f"{mean(row.num_train for row in members):.0f}",
            group.method,
            group.options or "—",
            str(len(members)),
            f"{mean(row.steps for row in members):.0f}",
            _describe([row.accuracy for row in members]),
            _describe([row.balanced_accuracy for row in members]),
            _describe_difference(groups[group], group, baselines),
        )
    console.print(table)


def group_rows(rows: list[Row]) -> dict[Group, list[Row]]:
    groups: dict[Group, list[Row]] = defaultdict(list)
    for row in rows:
        name = f"{row.dataset}-{row.task} {row.fold} {row.image_size} px"
        groups[Group(name, row.percent, row.method, row.options)].append(row)
    return groups


def compare(rows: list[Row], baseline: list[Row]) -> Difference | None:
    """A bootstrap over seeds and pictures: both are drawn anew with replacement, the pairs stay pairs.

    Its interval is wide rather than narrow: what is neither of a seed nor of a picture alone counts in both (Owen 2007,
    the pigeonhole bootstrap). With one seed it is of the choice of pictures alone.
    """
    by_seed = {row.seed: row for row in baseline}
    pairs = [(row, by_seed[row.seed]) for row in rows if row.seed in by_seed]
    if not pairs:
        return None
    gains = np.stack([_read(one.right) - _read(other.right) for one, other in pairs])  # (seeds, pictures)
    generator = np.random.default_rng(0)
    means = [_resample(gains, generator) for _ in range(NUM_RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return Difference(len(pairs), 100 * float(gains.mean()), 100 * float(low), 100 * float(high))


def draw_plot(rows: list[Row], path: Path) -> None:
    """Accuracy over the share of labels, a line a method; bars are one standard deviation, of seeds alone.

    Of each method with its defaults, for as many epochs as most of its seeds had; all rows are of one arena.
    """
    groups = _choose_groups(rows)
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    for number, (method, colour) in enumerate(COLOURS.items()):
        points = {percent: members for (percent, name), members in sorted(groups.items()) if name == method}
        if points:
            accuracies = [[100 * row.accuracy for row in members] for members in points.values()]
            axes.errorbar(
                [percent + number - 1 for percent in points],  # beside each other, not on top
                [mean(values) for values in accuracies],
                yerr=[_spread(values) for values in accuracies],
                label=method.replace("_", "-"),
                color=colour,
                marker="o",
                capsize=3,
            )
    shares: dict[int, list[Row]] = defaultdict(list)
    for (percent, _), members in groups.items():
        shares[percent] += members
    axes.set_xticks(list(shares), [_describe_share(percent, members) for percent, members in shares.items()])
    axes.set_xlabel("labelled pictures, of the training part")
    axes.set_ylabel("accuracy, %")
    axes.set_title(" / ".join(sorted({group.name for group in group_rows(rows)})), fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _choose_groups(rows: list[Row]) -> dict[tuple[int, str], list[Row]]:
    """By share and method; what was trained with other options than its length stays out."""
    chosen: dict[tuple[int, str], list[Row]] = {}
    for group, members in sorted(group_rows([row for row in rows if set(row.read_options()) <= {"epochs"}]).items()):
        key = (group.percent, group.method)
        if len(members) > len(chosen.get(key, [])):
            chosen[key] = members
    return chosen


def _describe_share(percent: int, members: list[Row]) -> str:
    """`members` are of all methods."""
    steps, seeds = {row.steps for row in members}, {row.seed for row in members}
    length = " to ".join(str(count) for count in sorted({min(steps), max(steps)}))
    return f"{percent} %\n{length} steps\n{len(seeds)} seed{'s' if len(seeds) > 1 else ''}"


def _resample(gains: NDArray[np.float64], generator: np.random.Generator) -> float:
    seeds = generator.integers(0, len(gains), len(gains))
    pictures = generator.integers(0, gains.shape[1], gains.shape[1])
    return float(gains[np.ix_(seeds, pictures)].mean())


def _read(right: str) -> NDArray[np.float64]:
    return np.array([character == "1" for character in right], dtype=np.float64)


def _describe_difference(members: list[Row], group: Group, baselines: dict[Group, list[Row]]) -> str:
    if group.method == BASELINE and not group.options:
        return ""
    difference = compare(members, find_baseline(group, baselines))
    if difference is None:
        return ""
    return f"{difference.mean:+.1f} [{difference.low:+.1f}, {difference.high:+.1f}]"


def find_baseline(group: Group, known: dict[Group, list[Row]]) -> list[Row]:
    """Vanilla with the same options, else with those of them that are not the method's, else with none."""
    shared = [option for option in group.options.split() if option.split("=")[0] in OptimizationSpec.model_fields]
    for options in (group.options, " ".join(shared), ""):
        candidate = group._replace(method=BASELINE, options=options)
        if candidate in known and candidate != group:
            return known[candidate]
    return []


def _describe(shares: list[float]) -> str:
    return f"{100 * mean(shares):.1f} ± {100 * _spread(shares):.1f}"


def _spread(values: list[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0
