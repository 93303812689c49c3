"""A training step taken apart: the trainer's own parts in the trainer's order, with a stopwatch between them."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from core.inference.backbone_catalog import describe_backbone
from core.inference.preprocessing import make_preprocessing
from core.resolution import BackboneFacts, DatasetFacts, resolve
from core.specs import MethodSpec, OptimizationSpec, TrainingSpec
from core.trainer_protocol import ProbeJob
from core.training.batches import TrainBatches
from core.training.contenders import build_contender
from core.training.methods.base import Batch
from core.training.optim import build_optimizer, set_learning_rate
from core.training.probe import make_noise
from core.training.ranks import Ranks

STEPS_AN_EPOCH = 20
EPOCHS = 50_000  # no end is near
TAME_RATE = 1e-9  # noise teaches nothing
RANDOM_SHA256 = "0" * 64  # weights that were never pre-trained
_ALONE = Ranks()


class Shape(NamedTuple):
    """What a step's cost depends on."""

    backbone: str
    image_size: int
    num_classes: int
    batch_size: int
    precision: str


class Stopwatch:
    """Adds up seconds by part; waits for the device at each mark where it is told to look inside a step."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        self._wait()
        began_at = time.perf_counter()
        yield
        self._wait()
        self.seconds[part] += time.perf_counter() - began_at

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize()


class Stepper:
    """One method, training on made-up pictures."""

    def __init__(
        self,
        shape: Shape,
        method: MethodSpec,
        weights: Path,
        device: torch.device,
        *,
        compiled: bool = False,
        learning_rate: float = TAME_RATE,
    ) -> None:
        job = make_job(shape, method, weights, device, learning_rate=learning_rate)
        self._device = device
        self._spec = job.spec.training
        self._is_reduced = shape.precision == "bf16"
        self.method = build_contender(job, 0).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self.method.train()
        if compiled:
            for classifier in self.method.candidates.values():
                classifier.backbone.compile()
        self._optimizer = build_optimizer(self.method, self._spec)
        preprocessing = make_preprocessing(job.backbone, shape.image_size)
        samples = make_noise(shape.image_size, count=shape.batch_size * STEPS_AN_EPOCH, num_classes=shape.num_classes)
        self._batches = TrainBatches(
            samples, job.spec, preprocessing, _ALONE, num_views=self.method.num_views, device=device
        )
        self._step = 0

    def step(self) -> None:
        self.step_in_parts(_Unwatched())

    def step_in_parts(self, watch: "Stopwatch | _Unwatched") -> None:
        with watch.measure("data"):
            batch = self.read()
        with watch.measure("momentum update"):
            self.method.begin_step(self._step)
        with watch.measure("key forward"), self.autocast():
            self.method.encode_keys(batch, len(batch.labels))
        with watch.measure("queue"):
            self.method.enqueue_keys(batch.labels, _ALONE)
        with watch.measure("forward and backward"):
            self._optimizer.zero_grad(set_to_none=True)
            with self.autocast():
                losses = self.method.compute_losses(batch, slice(0, len(batch.labels)))
            losses["loss"].backward()
        with watch.measure("optimizer"):
            set_learning_rate(self._optimizer, self._spec, step=self._step, total_steps=EPOCHS * STEPS_AN_EPOCH)
            self._optimizer.step()
        with watch.measure("record"):
            torch.stack([loss.detach().double() for loss in losses.values()]).tolist()
        self._step += 1

    def read(self) -> Batch:
        return self._batches.read(*divmod(self._step, STEPS_AN_EPOCH))

    def forward_and_backward(self, images: Tensor, labels: Tensor) -> None:
        """The least that any fine-tuning does: the network and cross-entropy, nothing around them."""
        self._optimizer.zero_grad(set_to_none=True)
        with self.autocast():
            loss = torch.nn.functional.cross_entropy(self.method.classifier(images).float(), labels)
        loss.backward()

    @torch.no_grad()
    def forward(self, images: Tensor) -> None:
        with self.autocast():
            self.method.classifier.backbone(images)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._is_reduced)


class _Unwatched:
    @contextmanager
    def measure(self, _: str) -> Iterator[None]:
        yield


def make_job(
    shape: Shape, method: MethodSpec, weights: Path, device: torch.device, *, learning_rate: float
) -> ProbeJob:
    backbone = describe_backbone(shape.backbone)
    spec = TrainingSpec(
        backbone=shape.backbone,
        method=method,
        training=OptimizationSpec.model_validate(
            {
                "image_size": shape.image_size,
                "batch_size": shape.batch_size,
                "learning_rate": learning_rate,
                "epochs": 1,
                "precision": shape.precision,
            }
        ),
        gpus=0,
    )
    classes = [f"class-{number}" for number in range(shape.num_classes)]
    facts = DatasetFacts(class_counts=dict.fromkeys(classes, 40), val_samples=1)
    resolved = resolve(spec, facts, BackboneFacts(sha256=RANDOM_SHA256, image_size=backbone.image_size))
    return ProbeJob(spec=resolved, classes=classes, backbone=backbone, weights_path=weights, device=device.type)
