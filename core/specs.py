"""What a user asks of a job, frozen; and `resolve`, which turns every "auto" into a number."""

from math import ceil
from typing import Annotated, Literal, assert_never

from pydantic import BaseModel, ConfigDict, Field

Auto = Literal["auto"]


class Spec(BaseModel):
    """Unknown fields are refused: a typo in `learning_rte` is an error, not a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BiTuningSpec(Spec):
    """Bi-tuning (arXiv 2011.06182): cross-entropy, contrastive cross-entropy and categorical contrastive loss."""

    type: Literal["bi_tuning"] = "bi_tuning"
    temperature: float = Field(0.07, gt=0, le=10, description="Temperature of both contrastive losses (τ)")
    queue_size: Annotated[int, Field(ge=1, le=4096)] | Auto = Field("auto", description="Keys kept per class (K)")
    encoder_momentum: Annotated[float, Field(ge=0, lt=1)] | Auto = Field(
        "auto", description="Momentum of the key encoder (m)"
    )
    projection_dim: int = Field(128, ge=1, le=4096, description="Width of the projector (L)")


class VanillaSpec(Spec):
    """Plain fine-tuning: cross-entropy alone, with the same crops, steps and schedule."""

    type: Literal["vanilla"] = "vanilla"


MethodSpec = Annotated[BiTuningSpec | VanillaSpec, Field(discriminator="type")]


class EarlyStoppingSpec(Spec):
    patience: int = Field(5, ge=1, le=1000, description="Epochs without a better validation accuracy before stopping")


class OptimizationSpec(Spec):
    """The `training` part of a job."""

    epochs: Annotated[int, Field(ge=1, le=10_000)] | Auto = Field(
        "auto", description="Passes over the training samples"
    )
    batch_size: Annotated[int, Field(ge=2, le=4096)] | Auto = Field("auto", description="Samples a step")
    learning_rate: Annotated[float, Field(gt=0, le=10)] | Auto = Field(
        "auto", description="Of the classifier head; the backbone and the projector learn at a tenth of it"
    )
    image_size: Annotated[int, Field(ge=32, le=1024)] | Auto = Field(
        "auto", description="Side of the square crops in pixels"
    )
    augmentation: Literal["standard", "none"] = Field(
        "standard", description="`standard`: random resized crops (0.2 to 1) and horizontal flips; `none`: centre crops"
    )
    early_stopping: EarlyStoppingSpec | None = None


class TrainingSpec(Spec):
    """One fine-tuning, whatever the dataset."""

    backbone: str = Field(
        "tf_efficientnet_lite0", min_length=1, max_length=200, description="A registered backbone: see `GET /backbones`"
    )
    backbone_sha256: str | None = Field(
        None, pattern="^[0-9a-f]{64}$", description="Pins the pre-trained weights; refused when others are registered"
    )
    method: MethodSpec = BiTuningSpec()
    training: OptimizationSpec = OptimizationSpec()
    validation_fraction: float = Field(
        0.2, gt=0, lt=1, description="Share of the training samples that validates, unless the archive has `val/`"
    )
    seed: int = Field(0, ge=0, lt=2**31)
    gpus: Annotated[int, Field(ge=0, le=1)] | Auto = Field(
        "auto", description='"auto" is one where there is one, else the CPU'
    )
    max_runtime_seconds: int = Field(86_400, ge=1, le=2_592_000)


class ResolvedBiTuningSpec(BiTuningSpec):
    queue_size: int
    encoder_momentum: float


class ResolvedOptimizationSpec(OptimizationSpec):
    epochs: int
    batch_size: int
    learning_rate: float
    image_size: int


ResolvedMethodSpec = Annotated[ResolvedBiTuningSpec | VanillaSpec, Field(discriminator="type")]


class ResolvedSpec(TrainingSpec):
    """What is run: every number fixed. It is a valid `TrainingSpec` again, so posting it repeats the run."""

    backbone_sha256: str
    method: ResolvedMethodSpec
    training: ResolvedOptimizationSpec


class BackboneDescription(Spec):
    """How a backbone of timm is built and wants its pictures."""

    name: str
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bilinear", "bicubic"]
    crop_pct: float  # the centre crop's share of the resized shorter side
    num_features: int
    num_parameters: int


class DatasetFacts(Spec):
    """What the rules for "auto" look at in a dataset, after validation is set aside."""

    train_samples: int
    smallest_class: int
    num_classes: int


class BackboneFacts(Spec):
    """What the rules for "auto" look at in a backbone."""

    sha256: str
    image_size: int


def resolve(spec: TrainingSpec, dataset: DatasetFacts, backbone: BackboneFacts) -> ResolvedSpec:
    """Fixes every "auto" from the dataset and the backbone alone, never from the machine."""
    training = _resolve_training(spec.training, dataset, backbone)
    total_steps = training.epochs * count_steps_per_epoch(dataset.train_samples, training.batch_size)
    return ResolvedSpec(
        **spec.model_dump(exclude={"backbone_sha256", "method", "training"}),
        backbone_sha256=backbone.sha256,
        method=_resolve_method(spec.method, dataset, total_steps),
        training=training,
    )


def count_steps_per_epoch(train_samples: int, batch_size: int) -> int:
    """Batches in an epoch; the last short one is dropped unless it is the only one."""
    return max(1, train_samples // batch_size)


def _resolve_training(
    spec: OptimizationSpec, dataset: DatasetFacts, backbone: BackboneFacts
) -> ResolvedOptimizationSpec:
    batch_size = max(2, min(48, dataset.train_samples)) if spec.batch_size == "auto" else spec.batch_size
    steps_per_epoch = count_steps_per_epoch(dataset.train_samples, batch_size)
    return ResolvedOptimizationSpec(
        epochs=_clamp(ceil(600 / steps_per_epoch), 10, 40) if spec.epochs == "auto" else spec.epochs,
        batch_size=batch_size,
        learning_rate=0.01 * batch_size / 48 if spec.learning_rate == "auto" else spec.learning_rate,
        image_size=backbone.image_size if spec.image_size == "auto" else spec.image_size,
        augmentation=spec.augmentation,
        early_stopping=spec.early_stopping,
    )


def _resolve_method(
    spec: BiTuningSpec | VanillaSpec, dataset: DatasetFacts, total_steps: int
) -> ResolvedBiTuningSpec | VanillaSpec:
    match spec:
        case BiTuningSpec():
            return ResolvedBiTuningSpec(
                temperature=spec.temperature,
                queue_size=_clamp(dataset.smallest_class, 8, 32) if spec.queue_size == "auto" else spec.queue_size,
                encoder_momentum=_momentum(total_steps) if spec.encoder_momentum == "auto" else spec.encoder_momentum,
                projection_dim=spec.projection_dim,
            )
        case VanillaSpec():
            return spec
        case _:
            assert_never(spec)


def _momentum(total_steps: int) -> float:
    """Keeps the horizon 1/(1-m) at a tenth of the run: 0.999 at the reference recipe's 10,000 steps."""
    return min(0.9999, max(0.9, 1 - 10 / total_steps))


def _clamp(value: int, low: int, high: int) -> int:
    return min(high, max(low, value))
