"""Small jobs: a tiny backbone with random weights, and pictures whose colour says their class."""

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.dataset_index import Split
from core.inference.backbone_catalog import describe_backbone
from core.inference.model_card import CARD_FILE, WEIGHTS_FILE, ModelCard
from core.specs import (
    BackboneDescription,
    EarlyStoppingSpec,
    LinearProbeSpec,
    ResolvedBiTuningSpec,
    ResolvedMethodSpec,
    ResolvedOptimizationSpec,
    ResolvedSpec,
    VanillaSpec,
)
from core.trainer_protocol import Line, TrainerJob, decode_line
from core.training.recorder import Recorder
from core.training.run import do
from tests.dataset_dirs import Labelled, make_dataset_dir

BACKBONE = "test_efficientnet"
IMAGE_SIZE = 32
BATCH_SIZE = 4
TRAIN_SAMPLES = 14  # of 20 in train: three steps of four, and a rest that is dropped
COLOURS = ((200, 60, 60), (60, 200, 60))
BI_TUNING = ResolvedBiTuningSpec(
    temperature=0.5, queue_size=3, encoder_momentum=0.9, projection_dim=8, queue_fill="mask"
)
VANILLA = VanillaSpec()
LINEAR_PROBE = LinearProbeSpec()
METHODS: list[ResolvedMethodSpec] = [BI_TUNING, VANILLA, LINEAR_PROBE]


@cache
def describe(backbone: str = BACKBONE) -> BackboneDescription:
    return describe_backbone(backbone)


def make_sample(label: int, split: Split, seed: int) -> Labelled:
    noise = np.random.default_rng(seed).integers(-50, 50, (40, 48, 3))
    return Labelled(Image.fromarray((np.array(COLOURS[label]) + noise).astype(np.uint8)), label, split)


def make_dataset(directory: Path, *, train: int = TRAIN_SAMPLES, val: int = 6, test: int = 4) -> Path:
    counts: list[tuple[Split, int]] = [("train", train), ("val", val), ("test", test)]
    splits = [split for split, count in counts for _ in range(count)]
    return make_dataset_dir(directory, [make_sample(seed % 2, split, seed) for seed, split in enumerate(splits)])


def make_weights(path: Path, backbone: str = BACKBONE) -> Path:
    torch.manual_seed(0)
    save_file(timm.create_model(backbone, pretrained=False).state_dict(), path)
    return path


def make_spec(
    method: ResolvedMethodSpec,
    *,
    epochs: int = 2,
    learning_rate: float = 0.05,
    seed: int = 0,
    patience: int | None = None,
    compare_to_baseline: bool = False,
    backbone: str = BACKBONE,
    **training: object,
) -> ResolvedSpec:
    """`training`: other fields of `ResolvedOptimizationSpec`."""
    fixed: dict[str, object] = {
        "epochs": epochs,
        "batch_size": BATCH_SIZE,
        "learning_rate": learning_rate,
        "schedule": "cosine",
        "warm_up_fraction": 0.05,
        "class_weights": None,
        "image_size": IMAGE_SIZE,
        "min_crop_area": 0.7,
        "batch_norm": "pretrained",
        "early_stopping": None if patience is None else EarlyStoppingSpec(patience=patience),
    }
    return ResolvedSpec(
        backbone=backbone,
        backbone_sha256="a" * 64,
        method=method,
        seed=seed,
        compare_to_baseline=compare_to_baseline,
        training=ResolvedOptimizationSpec.model_validate(fixed | training),
    )


def make_job(directory: Path, spec: ResolvedSpec, *, dataset_dir: Path | None = None) -> TrainerJob:
    """A job of its own folder; the dataset is made unless one is given."""
    directory.mkdir(parents=True, exist_ok=True)
    return TrainerJob(
        spec=spec,
        classes=["red", "green"],
        backbone=describe(spec.backbone),
        weights_path=make_weights(directory / "backbone.safetensors", spec.backbone),
        dataset_dir=make_dataset(directory / "dataset") if dataset_dir is None else dataset_dir,
        cache_dir=directory / "cache",
        output_dir=directory / "output",
        checkpoint_interval_seconds=1e9,
        num_threads=1,
    )


class StopAfter:
    """Says stop when it was asked so many times; counts steps when it is asked before each."""

    def __init__(self, asked: int) -> None:
        self._left = asked

    def __call__(self) -> bool:
        self._left -= 1
        return self._left < 0


def never() -> bool:
    return False


def run_job(job: TrainerJob, *, should_stop: Callable[[], bool] = never) -> list[Line]:
    """Everything that the trainer says, but progress."""
    out = io.BytesIO()
    try:
        do(job, Recorder(out), should_stop=should_stop)
    finally:
        lines = [decode_line(raw) for raw in out.getvalue().splitlines()]
    return [line for line in lines if line.type != "progress"]


def read_card(job: TrainerJob) -> ModelCard:
    return ModelCard.model_validate_json((job.output_dir / "artifact" / CARD_FILE).read_text())


def read_weights(job: TrainerJob) -> dict[str, Tensor]:
    return load_file(job.output_dir / "artifact" / WEIGHTS_FILE)
