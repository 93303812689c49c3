"""What a user asks of a job, frozen. `core.resolution` turns every "auto" into a number."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Auto = Literal["auto"]
Preset = Literal["default", "paper"]
EncoderName = Literal["query", "key"]
MANY_CLASSES = 20  # the fewest with which a small T was better on average (docs/benchmarks.md)
LEAST_TEMPERATURE = 0.2  # with fewer classes: 0.07 cost 10 points, and between it and 0.5 little was tried
LEAST_TEMPERATURE_OF_MANY = 0.07  # with as many: below it nothing was tried


class Spec(BaseModel):
    """Unknown fields are refused: a typo in `learning_rte` is an error, not a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BiTuningSpec(Spec):
    """Bi-tuning (arXiv 2011.06182): cross-entropy, contrastive cross-entropy and categorical contrastive loss."""

    type: Literal["bi_tuning"] = "bi_tuning"
    temperature: Annotated[float, Field(gt=0, le=10)] | Auto = Field(
        "auto", description="Temperature of both contrastive losses (τ)"
    )
    queue_size: Annotated[int, Field(ge=1, le=4096)] | Auto = Field("auto", description="Keys kept per class (K)")
    encoder_momentum: Annotated[float, Field(ge=0, lt=1)] | Auto = Field(
        "auto", description="Momentum of the key encoder (m)"
    )
    projection_dim: int = Field(128, ge=1, le=4096, description="Width of the projector (L)")
    projector: Literal["linear", "mlp"] = Field(
        "linear", description="`linear`: one layer; `mlp`: two with a ReLU between"
    )
    ccl_weight: float = Field(1.0, ge=0, le=100, description="Weight of the categorical contrastive loss")
    cce_weight: float = Field(1.0, ge=0, le=100, description="Weight of the contrastive cross-entropy loss")
    detach_head: bool = Field(
        True, description="Whether the contrastive cross-entropy leaves the classifier head alone"
    )
    queue_fill: Literal["mask", "noise"] | Auto = Field(
        "auto", description="Slots without a key yet: `mask` leaves them out, `noise` holds random unit vectors"
    )
    key_norm: Literal["batch", "momentum"] = Field(
        "batch",
        description="Batch norm of the key encoder: `batch` uses the statistics of its own batch, "
        "`momentum` an average of the query encoder's running statistics; no effect where `training.batch_norm` "
        "keeps those of the backbone",
    )


class VanillaSpec(Spec):
    """Plain fine-tuning: cross-entropy alone, with the same crops, steps and schedule."""

    type: Literal["vanilla"] = "vanilla"


class LinearProbeSpec(Spec):
    """Only the classifier head learns; the backbone stays as it was pre-trained."""

    type: Literal["linear_probe"] = "linear_probe"


MethodSpec = Annotated[BiTuningSpec | VanillaSpec | LinearProbeSpec, Field(discriminator="type")]


class EarlyStoppingSpec(Spec):
    patience: int = Field(5, ge=1, le=1000, description="Epochs without a better validation accuracy before stopping")


class OptimizationSpec(Spec):
    """The `training` part of a job."""

    epochs: Annotated[int, Field(ge=1, le=10_000)] | Auto = Field(
        "auto", description="Passes over the training samples"
    )
    batch_size: Annotated[int, Field(ge=2, le=4096)] | Auto = Field(
        "auto", description="Samples a step, over all GPUs and micro-batches"
    )
    micro_batch_size: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        None, description="Samples at once on a device; null: the whole batch, halved whenever memory does not suffice"
    )
    learning_rate: Annotated[float, Field(gt=0, le=10)] | Auto = Field(
        "auto", description="Of the classifier head; the backbone and the projector learn at a tenth of it"
    )
    schedule: Literal["cosine", "step"] | Auto = Field(
        "auto", description="`cosine` falls to zero; `step` falls to a tenth at 60 % of the steps"
    )
    warm_up_fraction: Annotated[float, Field(ge=0, lt=1)] | Auto = Field(
        "auto", description="Share of the steps over which the rate rises linearly"
    )
    weight_decay: float = Field(5e-4, ge=0, le=1, description="Of every parameter")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of the target spread over all classes")
    class_weights: dict[str, Annotated[float, Field(gt=0, le=1000)]] | Auto | None = Field(
        None,
        description='Weights of the cross-entropy: "auto" is inverse to the class\'s size; unnamed classes weigh 1',
    )
    sampling: Literal["shuffled", "balanced"] = Field(
        "shuffled", description="`balanced`: every class equally often in an epoch, whatever its size"
    )
    image_size: Annotated[int, Field(ge=32, le=1024)] | Auto = Field(
        "auto", description="Side of the square crops in pixels"
    )
    augmentation: Literal["standard", "none"] = Field(
        "standard", description="`standard`: random resized crops and horizontal flips; `none`: centre crops"
    )
    min_crop_area: Annotated[float, Field(ge=0.05, le=1)] | Auto = Field(
        "auto", description="Smallest random crop, as a share of the largest that fits; the largest is 1"
    )
    batch_norm: Literal["pretrained", "batch"] | Auto = Field(
        "auto",
        description="What batch norm normalises by in training: `pretrained` keeps the backbone's statistics, "
        "`batch` takes those of each batch and averages them for predicting",
    )
    precision: Literal["fp32", "bf16"] | Auto = Field(
        "auto", description='"auto" is bf16 on a GPU, fp32 on a CPU; momentum and contrastive losses are fp32 always'
    )
    early_stopping: EarlyStoppingSpec | None = Field(None, description="Stops when validation stops getting better")


class TrainingSpec(Spec):
    """One fine-tuning, whatever the dataset."""

    preset: Preset = Field("default", description='What "auto" means: our rules, or the recipe of the paper\'s authors')
    backbone: str = Field(
        "tf_efficientnet_lite0", min_length=1, max_length=200, description="A registered backbone: see `GET /backbones`"
    )
    backbone_sha256: str | None = Field(
        None, pattern="^[0-9a-f]{64}$", description="Pins the pre-trained weights; refused when others are registered"
    )
    method: MethodSpec = BiTuningSpec()
    training: OptimizationSpec = OptimizationSpec()
    compare_to_baseline: bool = Field(
        False, description="Also trains `vanilla` and `linear_probe` with the same budget, and reports the difference"
    )
    validation_fraction: float = Field(
        0.2, gt=0, lt=1, description="Share of the training samples that validates, unless the archive has `val/`"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Of the head, the order, the crops and the validation split")
    gpus: Annotated[int, Field(ge=0, le=16)] | Auto = Field(
        "auto", description='"auto" is one where there is one, else the CPU; 0 is the CPU'
    )
    max_runtime_seconds: int = Field(86_400, ge=1, le=2_592_000, description="The job fails when it runs for longer")
    max_queue_seconds: int | None = Field(
        None, ge=1, le=2_592_000, description="The job fails when it waits for longer; unset is no limit"
    )

    @property
    def asked_gpus(self) -> int | None:
        """None takes one where there is one."""
        return None if self.gpus == "auto" else self.gpus


class ResolvedBiTuningSpec(BiTuningSpec):
    temperature: float
    queue_size: int
    encoder_momentum: float
    queue_fill: Literal["mask", "noise"]

    def is_sharp(self, num_classes: int) -> bool:
        """Whether T is so small that it can spoil a backbone whose batch norm keeps its statistics."""
        return self.temperature < _find_least_temperature(num_classes) and self.ccl_weight + self.cce_weight > 0

    def describe_sharpness(self, num_classes: int) -> str:
        return (
            f"with {num_classes} classes and T = {self.temperature:g}, below {_find_least_temperature(num_classes):g}, "
            "a backbone that keeps its batch-norm statistics can lose much accuracy"
        )


def _find_least_temperature(num_classes: int) -> float:
    return LEAST_TEMPERATURE if num_classes < MANY_CLASSES else LEAST_TEMPERATURE_OF_MANY


class ResolvedOptimizationSpec(OptimizationSpec):
    epochs: int
    batch_size: int
    learning_rate: float
    schedule: Literal["cosine", "step"]
    warm_up_fraction: float
    class_weights: dict[str, float] | None
    image_size: int
    min_crop_area: float = 0.2  # of jobs that were resolved before this was a field
    batch_norm: Literal["pretrained", "batch"] = "batch"  # of the same


ResolvedMethodSpec = Annotated[ResolvedBiTuningSpec | VanillaSpec | LinearProbeSpec, Field(discriminator="type")]


class ResolvedSpec(TrainingSpec):
    """What is run: every number fixed. It is a valid `TrainingSpec` again, so posting it repeats the run.

    `gpus` and `precision` may stay "auto": they belong to the machine, not to the dataset.
    """

    backbone_sha256: str
    method: ResolvedMethodSpec
    training: ResolvedOptimizationSpec

    @property
    def contenders(self) -> list[ResolvedMethodSpec]:
        """The method asked for, then the baselines that it is compared to."""
        baselines: list[ResolvedMethodSpec] = [VanillaSpec(), LinearProbeSpec()] if self.compare_to_baseline else []
        return [self.method, *(baseline for baseline in baselines if baseline != self.method)]


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
