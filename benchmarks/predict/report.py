"""Tables on standard error, and figures as JSON."""

import math
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.predict.figures import RoundFigures, find_median
from benchmarks.predict.load import REFUSALS
from benchmarks.predict.saturation import Round

console = Console(stderr=True)


def show_rounds(rounds: list[Round]) -> None:
    """Medians of the rounds, and refusals and failures of all of them."""
    table = Table("what", "clients", "images/s", "p50 ms", "p99 ms", *map(str, REFUSALS), "failed")
    for name, by_clients in rounds[0].servers.items():
        for clients in by_clients:
            table.add_row(name, str(clients), *_summarize([one.servers[name][clients] for one in rounds]))
    floors = [one.floor for one in rounds]
    all_cores, one_thread, single = (find_median(values) for values in zip(*floors, strict=True))
    table.add_row("loop: all cores", "", f"{all_cores:.1f}")
    table.add_row("loop: one thread", "", f"{one_thread:.1f}")
    table.add_row("loop: one picture", "", "", f"{single:.1f}")
    console.print(table)


def show(figures: NamedTuple) -> object:
    table = Table(type(figures).__name__, "")
    for name, value in figures._asdict().items():
        table.add_row(name, f"{value:.3g}" if isinstance(value, float) and abs(value) < 100 else _format(value))
    console.print(table)
    return to_json(figures)


def to_json(value: object) -> object:
    """Named tuples as objects, and null for what was not measured."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: to_json(item) for name, item in value._asdict().items()}
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 4)
    return value


def _summarize(figures: list[RoundFigures]) -> list[str]:
    medians = [
        find_median(one.images_per_second for one in figures),
        find_median(one.p50_ms for one in figures),
        find_median(one.p99_ms for one in figures),
    ]
    refused = [sum(one.refused[status] for one in figures) for status in REFUSALS]
    failed = sum(one.failed for one in figures)
    return [*(f"{value:.1f}" for value in medians), *(str(count) for count in refused), str(failed)]


def _format(value: object) -> str:
    return f"{value:.0f}" if isinstance(value, float) else str(value)
