import pytest

from core.errors import InvalidInputError
from core.resolution import MAX_QUEUE_KEYS, BackboneFacts, DatasetFacts, count_steps_per_epoch, resolve
from core.specs import (
    BiTuningSpec,
    OptimizationSpec,
    Preset,
    ResolvedBiTuningSpec,
    ResolvedSpec,
    TrainingSpec,
    VanillaSpec,
)

BACKBONE = BackboneFacts(sha256="a" * 64, image_size=224)
DATASET = DatasetFacts(class_counts={"intact": 264, "cracked": 120})


def make_dataset(num_classes: int, samples_each: int) -> DatasetFacts:
    return DatasetFacts(class_counts={f"c{number}": samples_each for number in range(num_classes)})


def resolve_bi_tuning(spec: TrainingSpec, dataset: DatasetFacts = DATASET) -> ResolvedBiTuningSpec:
    method = resolve(spec, dataset, BACKBONE).method
    assert isinstance(method, ResolvedBiTuningSpec)
    return method


def count_steps(resolved: ResolvedSpec, dataset: DatasetFacts) -> int:
    training = resolved.training
    return training.epochs * count_steps_per_epoch(dataset.train_samples, training.batch_size)


def test_every_auto_but_those_of_the_machine_becomes_a_number() -> None:
    resolved = resolve(TrainingSpec(training=OptimizationSpec(class_weights="auto")), DATASET, BACKBONE)

    assert resolved.model_dump_json().count("auto") == 2
    assert (resolved.gpus, resolved.training.precision) == ("auto", "auto")


def test_numbers_that_were_asked_are_kept() -> None:
    spec = TrainingSpec(
        method=BiTuningSpec(temperature=0.2, queue_size=7, encoder_momentum=0.5, queue_fill="noise"),
        training=OptimizationSpec(epochs=3, batch_size=5, learning_rate=0.1, image_size=96),
    )

    resolved = resolve(spec, DATASET, BACKBONE)

    assert resolved.method.model_dump() == spec.method.model_dump()
    assert (resolved.training.epochs, resolved.training.batch_size, resolved.training.image_size) == (3, 5, 96)


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_resolving_again_changes_nothing(preset: str) -> None:
    asked = TrainingSpec.model_validate({"preset": preset, "training": {"class_weights": "auto"}})

    resolved = resolve(asked, DATASET, BACKBONE)

    assert resolve(TrainingSpec.model_validate_json(resolved.model_dump_json()), DATASET, BACKBONE) == resolved


def test_vanilla_stays_vanilla() -> None:
    assert resolve(TrainingSpec(method=VanillaSpec()), DATASET, BACKBONE).method == VanillaSpec()


def test_batch_is_never_larger_than_the_dataset() -> None:
    tiny = make_dataset(2, 5)

    assert resolve(TrainingSpec(), tiny, BACKBONE).training.batch_size == 10


def test_paper_is_the_recipe_of_the_authors() -> None:
    dataset = make_dataset(200, 24)

    resolved = resolve(TrainingSpec(preset="paper"), dataset, BACKBONE)

    training, method = resolved.training, resolved.method
    assert (training.batch_size, training.schedule, training.warm_up_fraction) == (48, "step", 0.0)
    assert (training.learning_rate, training.weight_decay) == (0.01, 5e-4)
    assert (training.min_crop_area, training.batch_norm) == (0.2, "batch")
    assert count_steps(resolved, dataset) == 10_000
    assert isinstance(method, ResolvedBiTuningSpec)
    assert (method.queue_size, method.queue_fill, method.projection_dim) == (40, "noise", 128)
    assert method.temperature == 0.07
    assert method.encoder_momentum == pytest.approx(0.999)


def test_default_is_what_was_measured_to_be_better() -> None:
    training = resolve(TrainingSpec(), DATASET, BACKBONE).training

    assert (training.min_crop_area, training.batch_norm) == (0.7, "pretrained")
    assert resolve_bi_tuning(TrainingSpec()).temperature == 0.5


@pytest.mark.parametrize(
    ("preset", "num_classes", "batch_size", "temperature"),
    [
        ("default", 2, 48, 0.5),
        ("default", 19, 48, 0.5),
        ("default", 20, 48, 0.07),
        ("default", 1000, 16, 0.07),
        ("default", 20, 96, 0.5),  # twice the learning rate
        ("paper", 2, 48, 0.07),
        ("paper", 20, 96, 0.07),
    ],
)
def test_temperature_is_small_where_classes_are_many_and_the_rate_is_not(
    preset: Preset, num_classes: int, batch_size: int, temperature: float
) -> None:
    spec = TrainingSpec(preset=preset, training=OptimizationSpec(batch_size=batch_size))

    method = resolve_bi_tuning(spec, make_dataset(num_classes, 10))

    assert method.temperature == temperature
    assert preset == "paper" or not method.is_sharp(num_classes)


def test_job_of_before_goes_on_as_it_was_resolved() -> None:
    body = resolve(TrainingSpec(preset="paper"), DATASET, BACKBONE).model_dump(mode="json")
    before = body | {
        "training": {k: v for k, v in body["training"].items() if k not in ("min_crop_area", "batch_norm")}
    }

    assert ResolvedSpec.model_validate(before).model_dump(mode="json") == body


def test_momentum_keeps_its_horizon_a_tenth_of_the_run() -> None:
    resolved = resolve(TrainingSpec(training=OptimizationSpec(epochs=100)), DATASET, BACKBONE)

    assert isinstance(resolved.method, ResolvedBiTuningSpec)
    assert 1 / (1 - resolved.method.encoder_momentum) == pytest.approx(count_steps(resolved, DATASET) / 10)


def test_queue_is_no_longer_than_the_smallest_class_and_no_more_than_memory_allows() -> None:
    sizes = [resolve_bi_tuning(TrainingSpec(), make_dataset(*sizes)).queue_size for sizes in [(2, 12), (2, 900)]]
    many = resolve_bi_tuning(TrainingSpec(), make_dataset(10_000, 50)).queue_size

    assert (sizes, many) == ([12, 32], 6)


def test_queue_that_does_not_fit_is_refused() -> None:
    spec = TrainingSpec(method=BiTuningSpec(queue_size=4096))

    with pytest.raises(InvalidInputError, match="do not fit"):
        resolve(spec, make_dataset(MAX_QUEUE_KEYS // 4096 + 1, 5), BACKBONE)


def test_automatic_class_weights_are_inverse_to_the_size_and_one_in_the_mean() -> None:
    weights = resolve(TrainingSpec(training=OptimizationSpec(class_weights="auto")), DATASET, BACKBONE).training

    assert weights.class_weights is not None
    assert weights.class_weights["cracked"] / weights.class_weights["intact"] == pytest.approx(264 / 120, abs=1e-4)
    mean = sum(weights.class_weights[name] * count for name, count in DATASET.class_counts.items()) / 384
    assert mean == pytest.approx(1, abs=1e-5)


def test_class_that_was_given_no_weight_weighs_one() -> None:
    training = OptimizationSpec(class_weights={"cracked": 2.0})

    weights = resolve(TrainingSpec(training=training), DATASET, BACKBONE).training.class_weights

    assert weights == {"intact": 1.0, "cracked": 2.0}


def test_weight_of_an_unknown_class_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="no class 'craked'"):
        resolve(TrainingSpec(training=OptimizationSpec(class_weights={"craked": 2.0})), DATASET, BACKBONE)


def test_more_gpus_than_samples_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="too few for 12 GPUs"):
        resolve(TrainingSpec(gpus=12), make_dataset(2, 5), BACKBONE)


def test_batch_is_shared_evenly_by_the_gpus() -> None:
    assert resolve(TrainingSpec(gpus=5), DATASET, BACKBONE).training.batch_size == 45
    with pytest.raises(InvalidInputError, match="cannot be shared"):
        resolve(TrainingSpec(gpus=5, training=OptimizationSpec(batch_size=48)), DATASET, BACKBONE)
