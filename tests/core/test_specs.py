import pytest
from pydantic import ValidationError

from core.specs import BackboneFacts, BiTuningSpec, DatasetFacts, OptimizationSpec, TrainingSpec, VanillaSpec, resolve

BACKBONE = BackboneFacts(sha256="a" * 64, image_size=224)
DATASET = DatasetFacts(train_samples=384, smallest_class=120, num_classes=2)


def test_every_auto_becomes_a_number() -> None:
    assert "auto" not in resolve(TrainingSpec(gpus=0), DATASET, BACKBONE).model_dump_json()


def test_numbers_that_were_asked_are_kept() -> None:
    spec = TrainingSpec(
        method=BiTuningSpec(queue_size=7, encoder_momentum=0.5),
        training=OptimizationSpec(epochs=3, batch_size=5, learning_rate=0.1, image_size=96),
    )

    resolved = resolve(spec, DATASET, BACKBONE)

    assert resolved.method.model_dump() == spec.method.model_dump()
    assert (resolved.training.epochs, resolved.training.batch_size, resolved.training.image_size) == (3, 5, 96)


def test_resolving_again_changes_nothing() -> None:
    resolved = resolve(TrainingSpec(), DATASET, BACKBONE)

    assert resolve(TrainingSpec.model_validate(resolved.model_dump()), DATASET, BACKBONE) == resolved


def test_vanilla_stays_vanilla() -> None:
    assert resolve(TrainingSpec(method=VanillaSpec()), DATASET, BACKBONE).method == VanillaSpec()


def test_batch_is_never_larger_than_the_dataset() -> None:
    tiny = DatasetFacts(train_samples=10, smallest_class=5, num_classes=2)

    assert resolve(TrainingSpec(), tiny, BACKBONE).training.batch_size == 10


@pytest.mark.parametrize("body", [{"learning_rte": 1}, {"training": {"epochs": 0}}, {"method": {"type": "magic"}}])
def test_nonsense_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TrainingSpec.model_validate(body)
