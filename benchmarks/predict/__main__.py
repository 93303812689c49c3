"""How well the API predicts, over real HTTP: `python -m benchmarks.predict`.

One model (the bundled backbone at 224 px, two classes) and JPEGs of 224 to 1,024 px, sent as raw bodies to
`POST /models/{id}/predict`; API, servers and clients share the machine. The parts:

saturation  1, 8, 32 and 128 clients that wait for their answers, at the API, at LitServe with the model as it is and at
            LitServe with our engine in turn, and the floor of the same minutes: a plain loop in one process that
            decodes batches of 32 on all cores and predicts them.
overload    requests at twice the rate that can be served: what is still answered within the deadline?
herd        100 requests at once to a model that is not loaded: how often is it read from the store?
models      50 models in turn with room for 5: does memory stay within the cap?

Lifted: the requests a second of a project, which are counted as ever but not limited (200 by default). Changed for a
part: `overload` sets BITUNE_PREDICT_TIMEOUT_SECONDS, `models` BITUNE_MODEL_CACHE_BYTES. All else has its default, or
what `--set` says. LitServe is installed into a virtual environment that goes with the benchmark; where it cannot be,
it is not measured.
"""

import argparse
import json
import os
import resource
from pathlib import Path

from benchmarks.predict import report
from benchmarks.predict.figures import NOT_MEASURED
from benchmarks.predict.herd import measure_herd
from benchmarks.predict.litserve_server import LitServeError, install_litserve
from benchmarks.predict.many_models import measure_many_models
from benchmarks.predict.overload import measure_overload
from benchmarks.predict.saturation import LitServe, Ratios, find_ratios, measure_rounds, start_litserve
from benchmarks.predict.setting import Setting, make_setting
from benchmarks.stack import run_servers

PARTS = ("saturation", "overload", "herd", "models")
LITSERVE_WORKERS_ON_CUDA = 4  # its documentation: one a core on a CPU, one to four a GPU


def main() -> None:
    options = _parse_options()
    _allow_many_connections()
    ratios = Ratios(NOT_MEASURED, NOT_MEASURED, NOT_MEASURED, NOT_MEASURED)
    results: dict[str, object] = {}
    with run_servers() as settings:
        setting = make_setting(settings, seconds=options.seconds, device=options.device, environment=dict(options.set))
        if "saturation" in options.only:
            litserve = _find_litserve(setting, options)
            rounds = measure_rounds(setting, options.clients, options.rounds, litserve)
            ratios = find_ratios(rounds)
            report.show_rounds(rounds)
            report.show(ratios)
            results["saturation"] = [report.to_json(one) for one in rounds]
        if "overload" in options.only:
            results["overload"] = report.show(measure_overload(setting, options.deadline))
        if "herd" in options.only:
            results["herd"] = report.show(measure_herd(setting, options.herd))
        if "models" in options.only:
            results["models"] = report.show(measure_many_models(setting, options.models))
    if options.json is not None:
        options.json.write_text(json.dumps(results | {"ratios": report.to_json(ratios)}, indent=2))
    print(f"of_floor={ratios.of_floor:.2f} vs_litserve={ratios.vs_litserve:.2f} overhead_ms={ratios.overhead_ms:.1f}")


def _find_litserve(setting: Setting, options: argparse.Namespace) -> LitServe | None:
    """None where it cannot be installed or does not start."""
    if options.without_litserve:
        return None
    try:
        python = install_litserve(setting.settings.home / "litserve")
        litserve = LitServe(python, options.litserve_workers or _choose_workers(setting.device))
        with start_litserve(setting, litserve):
            return litserve
    except LitServeError as exc:
        report.console.print(f"LitServe: not measured: {exc}")
        return None


def _choose_workers(device: str) -> int:
    return LITSERVE_WORKERS_ON_CUDA if device == "cuda" else len(os.sched_getaffinity(0))


def _allow_many_connections() -> None:
    """For this process and all that it starts: under overload each request has its own."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="that are counted of each round")
    parser.add_argument("--deadline", type=float, default=5.0, help="in seconds, of a request under overload")
    parser.add_argument("--herd", type=int, default=100, help="requests at once to a model that is not loaded")
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="of the floor and of LitServe")
    parser.add_argument("--set", type=_read_setting, nargs="+", default=[], metavar="BITUNE_X=Y", help="of the API")
    parser.add_argument("--litserve-workers", type=int, help="processes that predict; default: cores, or 4 on CUDA")
    parser.add_argument("--without-litserve", action="store_true")
    parser.add_argument("--json", type=Path, help="writes all figures there")
    return parser.parse_args()


def _read_setting(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


if __name__ == "__main__":
    main()
