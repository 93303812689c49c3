"""The demo's result as one picture: losses, accuracy, confusion matrix."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cli.demo.cells import CLASSES
from cli.demo.client import MetricPoint, Series

INK = "#1f2933"
BLUE = "#1d6fb8"
ORANGE = "#e0772c"
GREY = "#8a97a5"


def count_confusion(truth: list[str], predicted: list[str]) -> NDArray[np.int64]:
    """Counts by true class (rows) and predicted class (columns), in the order of CLASSES."""
    matrix = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    for true_label, label in zip(truth, predicted, strict=True):
        matrix[CLASSES.index(true_label), CLASSES.index(label)] += 1
    return matrix


def write_figure(path: Path, series: Series, confusion: NDArray[np.int64], *, majority: float) -> None:
    figure = Figure(figsize=(13.5, 4.4), dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    losses, accuracy, matrix = figure.subplots(1, 3, width_ratios=(1.15, 1.15, 1))
    _draw_losses(losses, series)
    _draw_accuracy(accuracy, series, majority)
    _draw_confusion(matrix, confusion)
    rate = np.trace(confusion) / confusion.sum()
    figure.suptitle(
        f"Defects of solar cells: {rate:.1%} of {confusion.sum()} unseen cells are right",
        fontsize=14,
        fontweight="bold",
        color=INK,
    )
    figure.savefig(path)


def _draw_losses(axes: Axes, series: Series) -> None:
    _draw_line(axes, series.get("train_loss", []), "training, all terms of Bi-tuning", BLUE)
    _draw_line(axes, series.get("loss_ce", []), "training, cross-entropy alone", GREY)
    _draw_line(axes, series.get("val_loss", []), "validation", ORANGE, marker="o")
    axes.set_ylim(bottom=0)
    _finish(axes, "Loss")


def _draw_accuracy(axes: Axes, series: Series, majority: float) -> None:
    _draw_line(axes, series.get("val_accuracy", []), "validation", ORANGE, marker="o")
    axes.axhline(majority, color=GREY, linestyle="--", linewidth=1.2, label="always the most frequent class")
    axes.set_ylim(0.5, 1)
    axes.yaxis.set_major_formatter("{x:.0%}")
    _finish(axes, "Accuracy")


def _draw_line(axes: Axes, points: list[MetricPoint], label: str, color: str, marker: str | None = None) -> None:
    axes.plot(
        [point.step for point in points],
        [point.value for point in points],
        label=label,
        color=color,
        marker=marker,
        markersize=4,
        linewidth=1.8,
    )


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.set_xlabel("step", color=INK)
    axes.grid(axis="y", color="#e4e8ec", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK)


def _draw_confusion(axes: Axes, confusion: NDArray[np.int64]) -> None:
    shares = confusion / confusion.sum(axis=1, keepdims=True)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(confusion):
        color = "white" if shares[row, column] > 0.5 else INK
        text = f"{count}\n{shares[row, column]:.0%}"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=12)
    axes.set_xticks(range(len(CLASSES)), CLASSES)
    axes.set_yticks(range(len(CLASSES)), CLASSES, rotation=90, va="center")
    axes.set_xlabel("predicted", color=INK)
    axes.set_ylabel("true", color=INK)
    axes.set_title("Unseen cells", loc="left", fontsize=11, color=INK)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, colors=INK, labelsize=9)
