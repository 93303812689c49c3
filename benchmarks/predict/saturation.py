"""Clients that wait for each answer, in turn at the API and at LitServe, and the floor of the same minutes.

LitServe predicts with the model as it is, and once more with our engine. It is started for each of its turns: two idle
workers of it take a fifth of a core.
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from benchmarks.predict.figures import NOT_MEASURED, RoundFigures, find_median, summarize
from benchmarks.predict.floor import Floor, FloorTask, measure_floor_apart
from benchmarks.predict.litserve_server import Engine, serve_litserve
from benchmarks.predict.load import LEAD_IN_SECONDS, Clients, Target, run_apart
from benchmarks.predict.setting import Setting

API, LITSERVE, LITSERVE_OUR_ENGINE = "api", "litserve", "litserve, our engine"
ENGINES: dict[str, Engine] = {LITSERVE: "plain", LITSERVE_OUR_ENGINE: "ours"}
Figures = dict[int, RoundFigures]  # by clients


class Round(NamedTuple):
    floor: Floor
    servers: dict[str, Figures]  # by name

    def find_best(self, name: str) -> float:
        """A server that served nothing was not measured."""
        return max((one.images_per_second for one in self.servers[name].values()), default=0.0) or NOT_MEASURED

    def find_overhead_ms(self) -> float:
        alone = self.servers[API].get(1)
        return NOT_MEASURED if alone is None else alone.p50_ms - self.floor.single_ms


class Ratios(NamedTuple):
    """Medians over the rounds."""

    of_floor: float
    vs_litserve: float
    vs_litserve_our_engine: float
    overhead_ms: float


class LitServe(NamedTuple):
    """How it is started."""

    python: Path
    workers: int


def measure_rounds(setting: Setting, clients: list[int], rounds: int, litserve: LitServe | None) -> list[Round]:
    """API, LitServe and floor in turn."""
    with setting.serve() as (_, url):
        api = setting.aim(url, setting.publish())
        return [_measure_round(setting, api, clients, litserve) for _ in range(rounds)]


def start_litserve(setting: Setting, litserve: LitServe, engine: Engine = "plain") -> AbstractContextManager[str]:
    """The URL that predicts."""
    return serve_litserve(
        litserve.python,
        setting.files,
        device=setting.device,
        workers=litserve.workers,
        engine=engine,
        log=setting.settings.home / "litserve.log",
    )


def find_ratios(rounds: list[Round]) -> Ratios:
    def find_speed_against(name: str) -> float:
        return find_median(one.find_best(API) / one.find_best(name) for one in rounds)

    return Ratios(
        of_floor=find_median(one.find_best(API) / one.floor.images_per_second for one in rounds),
        vs_litserve=find_speed_against(LITSERVE),
        vs_litserve_our_engine=find_speed_against(LITSERVE_OUR_ENGINE),
        overhead_ms=find_median(one.find_overhead_ms() for one in rounds),
    )


def _measure_round(setting: Setting, api: Target, clients: list[int], litserve: LitServe | None) -> Round:
    servers = {API: _measure(setting, api, clients)}
    for name, engine in ENGINES.items():
        servers[name] = _measure_litserve(setting, litserve, engine, clients)
    return Round(_measure_floor(setting), servers)


def _measure_floor(setting: Setting) -> Floor:
    return measure_floor_apart(FloorTask(setting.files, setting.pictures, setting.seconds, setting.device))


def _measure_litserve(setting: Setting, litserve: LitServe | None, engine: Engine, clients: list[int]) -> Figures:
    """Nothing where it cannot be measured."""
    if litserve is None:
        return {}
    with start_litserve(setting, litserve, engine) as url:
        return _measure(setting, Target([url], setting.secret, setting.pictures), clients)


def _measure(setting: Setting, target: Target, clients: list[int]) -> Figures:
    """After a short round that warms up."""
    run_apart(Clients(target, max(clients), seconds=LEAD_IN_SECONDS))
    until = LEAD_IN_SECONDS + setting.seconds
    tries = {number: run_apart(Clients(target, number, seconds=until)) for number in clients}
    return {number: summarize(these, since=LEAD_IN_SECONDS, until=until) for number, these in tries.items()}
