"""What Bi-tuning costs: `python -m benchmarks.step_time`, images/s beside plain fine-tuning in turn, and where they go.

The floor of plain fine-tuning is the bare forward and backward of its network; that of Bi-tuning has one more forward
without gradient. Pictures are made up and decoded; the weights are random, which changes no time.
"""

import argparse
import json
import tempfile
from itertools import product
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file

from benchmarks.step_costs import Cost, measure
from benchmarks.stepping import Shape
from core.inference.classifier import create_backbone
from core.inference.freed_memory import keep_freed_memory
from core.training.determinism import make_deterministic

SOUGHT_RATIO = 1.40
console = Console(stderr=True)


def main() -> None:
    options = _parse_options()
    costs = measure_all(options)
    _report(costs)
    if options.json:
        print(json.dumps([cost._asdict() for cost in costs]))
    print(f"ratio={max(cost.ratio for cost in costs):.2f} of_limit={min(cost.of_limit for cost in costs):.2f}")


def measure_all(options: argparse.Namespace) -> list[Cost]:
    device = torch.device(options.device)
    keep_freed_memory()  # as the trainer's process does
    make_deterministic(device, num_threads=None)
    precision = options.precision or ("bf16" if device.type == "cuda" else "fp32")
    with tempfile.TemporaryDirectory(prefix="bitune-benchmark-") as folder:
        weights = Path(folder) / "backbone.safetensors"
        save_file(create_backbone(options.backbone).state_dict(), weights)
        return [
            measure(Shape(options.backbone, size, classes, batch, precision), weights, device, options.pairs)
            for size, classes, batch in product(options.image_sizes, options.classes, options.batch_sizes)
        ]


def _report(costs: list[Cost]) -> None:
    table = Table(
        "px", "classes", "batch", "vanilla images/s", "Bi-tuning images/s", "ratio", "of limit: vanilla", "ours"
    )
    for cost in costs:
        table.add_row(
            *(str(value) for value in (cost.image_size, cost.num_classes, cost.batch_size)),
            f"{cost.vanilla_images_per_second:.1f}",
            f"{cost.bi_tuning_images_per_second:.1f}",
            f"{cost.ratio:.2f}",
            f"{cost.vanilla_of_limit:.2f}",
            f"{cost.of_limit:.2f}",
        )
    console.print(table)
    for cost in costs:
        parts = ", ".join(f"{part} {100 * share:.1f} %" for part, share in cost.shares.items())
        console.print(f"{cost.image_size} px, {cost.num_classes} classes: {parts}")
    console.print(f"sought: a ratio of at most {SOUGHT_RATIO}; one more forward without gradient is 4/3")


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 200])
    parser.add_argument("--image-sizes", type=int, nargs="+", default=[64, 224])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[48])
    parser.add_argument("--precision", choices=["fp32", "bf16"], help="bf16 on a GPU, fp32 on a CPU unless told")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
