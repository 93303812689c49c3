"""The rules for "auto": from the dataset and the backbone to numbers, never from the machine. See docs/training.md."""

from math import ceil
from typing import assert_never

from core.errors import InvalidInputError
from core.specs import (
    MANY_CLASSES,
    BiTuningSpec,
    LinearProbeSpec,
    OptimizationSpec,
    Preset,
    ResolvedBiTuningSpec,
    ResolvedMethodSpec,
    ResolvedOptimizationSpec,
    ResolvedSpec,
    Spec,
    TrainingSpec,
    VanillaSpec,
)

BATCH_SIZE = 48
LEARNING_RATE = 0.01  # of a batch of 48
MIN_CROP_AREA = 0.7
TEMPERATURE = 0.5
TEMPERATURE_OF_MANY = 0.07  # from MANY_CLASSES on, at the default rate or less: twice the rate spoilt a run
PAPER_STEPS = 10_000
PAPER_MIN_CROP_AREA = 0.2
PAPER_TEMPERATURE = 0.07
PAPER_QUEUE_SIZE = 40
AUTO_QUEUE_KEYS = 65_536  # what "auto" spends over all classes: 0.4 GiB at 1,280 features
MAX_QUEUE_KEYS = 1_048_576


class DatasetFacts(Spec):
    """What the rules look at in a dataset, after validation is set aside."""

    class_counts: dict[str, int]  # training samples by class
    val_samples: int = 0
    test_samples: int = 0

    @property
    def train_samples(self) -> int:
        return sum(self.class_counts.values())

    @property
    def num_classes(self) -> int:
        return len(self.class_counts)


class BackboneFacts(Spec):
    """What the rules look at in a backbone."""

    sha256: str
    image_size: int


def resolve(spec: TrainingSpec, dataset: DatasetFacts, backbone: BackboneFacts) -> ResolvedSpec:
    """Raises InvalidInputError for what this dataset does not allow."""
    training = _resolve_training(spec, dataset, backbone)
    total_steps = training.epochs * count_steps_per_epoch(dataset.train_samples, training.batch_size)
    return ResolvedSpec(
        **spec.model_dump(exclude={"backbone_sha256", "method", "training"}),
        backbone_sha256=backbone.sha256,
        method=_resolve_method(spec, training, dataset, total_steps),
        training=training,
    )


def choose_temperature(num_classes: int, learning_rate: float) -> float:
    """What "auto" takes under preset `default`."""
    is_small = num_classes >= MANY_CLASSES and learning_rate <= LEARNING_RATE
    return TEMPERATURE_OF_MANY if is_small else TEMPERATURE


def count_steps_per_epoch(train_samples: int, batch_size: int) -> int:
    """Batches in an epoch; the last short one is dropped unless it is the only one."""
    return max(1, train_samples // batch_size)


def _resolve_training(spec: TrainingSpec, dataset: DatasetFacts, backbone: BackboneFacts) -> ResolvedOptimizationSpec:
    asked, is_paper = spec.training, spec.preset == "paper"
    batch_size = _choose_batch_size(spec, dataset)
    fixed = {
        "epochs": _choose_epochs(spec, count_steps_per_epoch(dataset.train_samples, batch_size)),
        "batch_size": batch_size,
        "learning_rate": _number(asked.learning_rate, LEARNING_RATE * batch_size / BATCH_SIZE),
        "schedule": ("step" if is_paper else "cosine") if asked.schedule == "auto" else asked.schedule,
        "warm_up_fraction": _number(asked.warm_up_fraction, 0.0 if is_paper else 0.05),
        "class_weights": _resolve_class_weights(asked, dataset),
        "image_size": backbone.image_size if asked.image_size == "auto" else asked.image_size,
        "min_crop_area": _number(asked.min_crop_area, PAPER_MIN_CROP_AREA if is_paper else MIN_CROP_AREA),
        "batch_norm": ("batch" if is_paper else "pretrained") if asked.batch_norm == "auto" else asked.batch_norm,
    }
    return ResolvedOptimizationSpec(**asked.model_dump(exclude=set(fixed)), **fixed)


def _choose_batch_size(spec: TrainingSpec, dataset: DatasetFacts) -> int:
    """A multiple of the number of GPUs, so that each has the same share."""
    gpus = 1 if spec.gpus == "auto" else max(1, spec.gpus)
    asked = spec.training.batch_size
    if gpus > dataset.train_samples:
        raise InvalidInputError(
            "too_many_gpus",
            f"{dataset.train_samples} training samples are too few for {gpus} GPUs",
            hint="take fewer GPUs",
            param="gpus",
        )
    if asked == "auto":
        return max(2, gpus, min(BATCH_SIZE, dataset.train_samples) // gpus * gpus)
    if asked % gpus:
        raise InvalidInputError(
            "batch_size_uneven",
            f"a batch of {asked} cannot be shared by {gpus} GPUs",
            hint=f"take a multiple of {gpus}",
            param="training.batch_size",
        )
    return asked


def _choose_epochs(spec: TrainingSpec, steps_per_epoch: int) -> int:
    if spec.training.epochs != "auto":
        return spec.training.epochs
    if spec.preset == "paper":
        return ceil(PAPER_STEPS / steps_per_epoch)
    return _clamp(ceil(600 / steps_per_epoch), 10, 40)


def _resolve_class_weights(asked: OptimizationSpec, dataset: DatasetFacts) -> dict[str, float] | None:
    """ "auto": N / (C n_c), so that the mean over the training samples is 1."""
    if asked.class_weights is None:
        return None
    if asked.class_weights == "auto":
        mean = dataset.train_samples / dataset.num_classes
        return {name: round(mean / max(1, count), 6) for name, count in dataset.class_counts.items()}
    unknown = sorted(asked.class_weights.keys() - dataset.class_counts.keys())
    if unknown:
        raise InvalidInputError(
            "unknown_class",
            f"the dataset has no class '{unknown[0]}'",
            hint=f"its classes are {', '.join(list(dataset.class_counts)[:20])}",
            param="training.class_weights",
        )
    return {name: asked.class_weights.get(name, 1.0) for name in dataset.class_counts}


def _resolve_method(
    spec: TrainingSpec, training: ResolvedOptimizationSpec, dataset: DatasetFacts, total_steps: int
) -> ResolvedMethodSpec:
    match spec.method:
        case BiTuningSpec():
            return _resolve_bi_tuning(spec.method, spec.preset, training, dataset, total_steps)
        case VanillaSpec() | LinearProbeSpec():
            return spec.method
        case _:
            assert_never(spec.method)


def _resolve_bi_tuning(
    spec: BiTuningSpec, preset: Preset, training: ResolvedOptimizationSpec, dataset: DatasetFacts, total_steps: int
) -> ResolvedBiTuningSpec:
    temperature = (
        PAPER_TEMPERATURE if preset == "paper" else choose_temperature(dataset.num_classes, training.learning_rate)
    )
    fixed = {
        "temperature": _number(spec.temperature, temperature),
        "queue_size": _choose_queue_size(spec, preset, dataset),
        "encoder_momentum": _number(spec.encoder_momentum, _choose_momentum(total_steps)),
        "queue_fill": ("noise" if preset == "paper" else "mask") if spec.queue_fill == "auto" else spec.queue_fill,
    }
    return ResolvedBiTuningSpec(**spec.model_dump(exclude=set(fixed)), **fixed)


def _choose_queue_size(spec: BiTuningSpec, preset: Preset, dataset: DatasetFacts) -> int:
    if spec.queue_size == "auto":
        smallest = min(dataset.class_counts.values())
        wanted = PAPER_QUEUE_SIZE if preset == "paper" else _clamp(smallest, 8, 32)
        return _clamp(AUTO_QUEUE_KEYS // dataset.num_classes, 1, wanted)
    if spec.queue_size * dataset.num_classes > MAX_QUEUE_KEYS:
        raise InvalidInputError(
            "queue_too_large",
            f"{spec.queue_size} keys for each of {dataset.num_classes} classes do not fit",
            hint=f'take at most {max(1, MAX_QUEUE_KEYS // dataset.num_classes)}, or "auto"',
            param="method.queue_size",
        )
    return spec.queue_size


def _choose_momentum(total_steps: int) -> float:
    """Keeps the horizon 1/(1-m) at a tenth of the run: 0.999 at the reference recipe's 10,000 steps."""
    return min(0.9999, max(0.9, 1 - 10 / total_steps))


def _number(asked: float | str, chosen: float) -> float:
    return chosen if isinstance(asked, str) else asked


def _clamp(value: int, low: int, high: int) -> int:
    return min(high, max(low, value))
