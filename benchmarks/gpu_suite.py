"""Everything that needs a GPU, in one call of some minutes: `python -m benchmarks.gpu_suite --out DIR`.

Step times of Bi-tuning beside plain fine-tuning, with and without torch.compile; the share of data in a step;
memory; whether a training repeats and resumes exactly. Needs torch, torchvision, timm, numpy, pillow, safetensors and
pydantic alone.
"""

import argparse
import json
import platform
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.gpu_runs import Runs, Size, try_runs
from benchmarks.step_costs import Cost, measure
from benchmarks.stepping import Shape
from core.inference.classifier import create_backbone
from core.inference.freed_memory import keep_freed_memory
from core.training.determinism import make_deterministic

RESULT_FILE = "gpu_suite.json"


def main() -> None:
    options = _parse_options()
    options.out.mkdir(parents=True, exist_ok=True)
    result_file = options.out / RESULT_FILE
    began_at = time.monotonic()
    device = torch.device(options.device)
    keep_freed_memory()  # as the trainer's process does
    make_deterministic(device, num_threads=None)
    costs: list[tuple[str, Cost]] = []
    with tempfile.TemporaryDirectory(prefix="bitune-benchmark-") as name:
        folder = Path(name)
        weights = folder / "random.safetensors"
        save_file(create_backbone(options.backbone).state_dict(), weights)
        for compiled in (False, True):
            for shape in _list_shapes(options):
                cost = measure(shape, weights, device, options.pairs, compiled=compiled)
                costs.append(("on" if compiled else "off", cost))
                print(_describe_cost(*costs[-1]), flush=True)
        _write(result_file, options.device, costs, None, seconds=time.monotonic() - began_at)  # if a training fails
        runs = try_runs(folder, Size(options.backbone, options.image_size, 4, options.per_class, 4, 32), options.device)
    print(_describe_runs(runs), flush=True)
    _write(result_file, options.device, costs, runs, seconds=time.monotonic() - began_at)
    plain = [cost for compiled, cost in costs if compiled == "off"]
    print(f"ratio={max(cost.ratio for cost in plain):.2f} of_limit={min(cost.of_limit for cost in plain):.2f}")


def _list_shapes(options: argparse.Namespace) -> list[Shape]:
    precision = "bf16" if options.device == "cuda" else "fp32"
    return [Shape(options.backbone, options.image_size, 200, size, precision) for size in options.batch_sizes]


def _describe_cost(compiled: str, cost: Cost) -> str:
    memory = "" if cost.memory_mb is None else f", {cost.memory_mb} MB"
    return (
        f"{cost.backbone} {cost.image_size} px {cost.precision} batch {cost.batch_size}, compile {compiled}: "
        f"vanilla {cost.vanilla_images_per_second} images/s, Bi-tuning {cost.bi_tuning_images_per_second}, "
        f"ratio {cost.ratio}, of limit {cost.of_limit}, data {100 * cost.shares['data']:.1f} %{memory}"
    )


def _describe_runs(runs: Runs) -> str:
    return (
        f"trained in {runs.seconds} s at {runs.images_per_second} images/s to {100 * runs.test_accuracy:.1f} % "
        f"(a guess: {100 * runs.guess:.1f} %); repeats exactly: {runs.repeats_exactly}; "
        f"interrupted at step {runs.interrupted_at_step}, resumes exactly: {runs.resumes_exactly}"
    )


def _write(path: Path, device: str, costs: list[tuple[str, Cost]], runs: Runs | None, *, seconds: float) -> None:
    """`runs` is None before they are tried."""
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {platform.machine()}"
    content = {
        "device": name,
        "date": datetime.now(UTC).date().isoformat(),
        "torch": torch.__version__,
        "seconds": round(seconds),
        "costs": [{"compile": compiled, **cost._asdict()} for compiled, cost in costs],
        "runs": None if runs is None else runs._asdict(),
    }
    path.write_text(json.dumps(content, indent=1) + "\n")


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[48, 256])
    parser.add_argument("--per-class", type=int, default=200, help="pictures of the short training")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path())
    return parser.parse_args()


if __name__ == "__main__":
    main()
