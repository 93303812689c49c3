from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.accuracy.contest import Place, run
from benchmarks.accuracy.prototypes import (
    PROBE_DECAY,
    MixedPairs,
    QueryAlone,
    SmallCrops,
    Symmetric,
    check_prototype,
    fit_head,
    try_out,
)
from benchmarks.accuracy.rows import MethodName
from core.inference.classifier import Classifier
from core.specs import ResolvedBiTuningSpec
from core.training.losses import CrossEntropy
from core.training.methods.base import Batch, Method
from core.training.methods.bi_tuning import BiTuning
from core.training.methods.build import build_method
from core.training.networks import build_classifier
from core.training.optim import build_optimizer
from core.training.ranks import Ranks
from tests.benchmarks.test_accuracy import SETUP
from tests.core.training.jobs import BACKBONE, IMAGE_SIZE, describe, make_dataset, make_spec, make_weights

LABELS = torch.tensor([0, 2, 2, 1])
SPEC = ResolvedBiTuningSpec(queue_size=3, encoder_momentum=0.8, projection_dim=8, temperature=0.2, queue_fill="mask")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return make_weights(tmp_path / "weights.safetensors")


def make_classifier(weights: Path, generator: torch.Generator) -> Classifier:
    return build_classifier(describe(), weights, image_size=32, num_classes=3, generator=generator)


def build(weights: Path) -> Method:
    """As a job does."""
    generator = torch.Generator().manual_seed(0)
    return build_method(SPEC, make_spec(SPEC), ["a", "b", "c"], make_classifier(weights, generator), generator)


def compute_losses(variant: type[BiTuning], weights: Path, views: list[Tensor]) -> dict[str, Tensor]:
    """Of the second step: in the first the queue is empty, and nothing is contrasted."""
    generator = torch.Generator().manual_seed(0)
    classifier = make_classifier(weights, generator)
    method = variant(classifier, SPEC, CrossEntropy(), generator, batch_size=len(LABELS), seed=0)
    batch = Batch(views, LABELS)
    for step in range(2):
        method.begin_step(step)
        method.encode_keys(batch, len(LABELS))
        method.enqueue_keys(LABELS, Ranks())
    return method.compute_losses(batch, slice(0, len(LABELS)))


def make_views() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(len(LABELS), 3, 32, 32, generator=generator) for _ in range(2)]


def test_symmetric_loss_is_the_plain_one_of_equal_views(weights: Path) -> None:
    view, _ = make_views()

    plain, symmetric = (compute_losses(variant, weights, [view, view]) for variant in (BiTuning, Symmetric))

    assert torch.allclose(symmetric["loss"], plain["loss"], atol=1e-5)


def test_symmetric_cross_entropy_is_the_mean_over_both_views(weights: Path) -> None:
    views = make_views()

    there, back = (compute_losses(BiTuning, weights, order)["loss_ce"] for order in (views, views[::-1]))

    assert torch.allclose(compute_losses(Symmetric, weights, views)["loss_ce"], (there + back) / 2, atol=1e-5)
    assert not torch.allclose(there, back, atol=1e-5)


def test_mixed_pairs_add_a_cross_entropy(weights: Path) -> None:
    plain, mixed = (compute_losses(variant, weights, make_views()) for variant in (BiTuning, MixedPairs))

    assert mixed["loss_ce"] == plain["loss_ce"]
    assert mixed["loss"] > plain["loss"] + 0.5  # a guess among three costs 1.1


def test_small_crops_change_the_contrastive_loss_alone(weights: Path) -> None:
    plain, small = (compute_losses(variant, weights, make_views()) for variant in (BiTuning, SmallCrops))

    assert small["loss_cce"] == plain["loss_cce"]
    assert small["loss_ccl"] != plain["loss_ccl"]
    difference = SPEC.ccl_weight * (small["loss_ccl"] - plain["loss_ccl"])
    assert torch.allclose(small["loss"] - plain["loss"], difference, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("symmetric", Symmetric),
        ("mixed_pairs", MixedPairs),
        ("small_crops", SmallCrops),
        ("query_alone", QueryAlone),
    ],
)
def test_jobs_train_the_variant_while_it_is_tried_out(weights: Path, name: str, variant: type[BiTuning]) -> None:
    assert type(build(weights)) is BiTuning

    with try_out(name):
        assert type(build(weights)) is variant


def test_key_encoder_is_no_candidate_where_the_query_encoder_is_alone(weights: Path) -> None:
    assert set(build(weights).candidates) == {"query", "key"}
    with try_out("query_alone"):
        assert set(build(weights).candidates) == {"query"}


def test_backbone_is_as_fast_as_the_head_while_it_is_tried_out(weights: Path) -> None:
    def list_shares() -> set[float]:
        groups = build_optimizer(build(weights), make_spec(SPEC).training).param_groups
        return {group["share"] for group in groups}

    assert list_shares() == {0.1, 1.0}
    with try_out("fast_backbone"):
        assert list_shares() == {1.0}


def test_fitted_head_is_where_the_loss_is_least() -> None:
    generator = torch.Generator().manual_seed(0)
    features, labels = torch.randn(40, 6, generator=generator), torch.randint(3, (40,), generator=generator)

    fitted = fit_head(features, labels, nn.Linear(6, 3))

    weight, bias = (fitted[name].requires_grad_() for name in ("weight", "bias"))
    loss = functional.cross_entropy(features @ weight.T + bias, labels) + PROBE_DECAY * weight.square().sum()
    assert all(gradient.abs().max() < 1e-3 for gradient in torch.autograd.grad(loss, [weight, bias]))


def test_head_starts_from_a_probe_while_it_is_tried_out(tmp_path: Path) -> None:
    """One step at this rate learns no colours."""
    place = Place(
        dataset_dir=make_dataset(tmp_path / "dataset", train=80, val=0, test=0),
        classes=["red", "green"],
        cache_dir=tmp_path / "cache",
        weights=make_weights(tmp_path / "weights.safetensors"),
        num_threads=1,
        commit="",
    )
    options = "batch_size=32 epochs=1 learning_rate=1e-9"
    setup = SETUP.model_copy(
        update={"backbone": BACKBONE, "image_size": IMAGE_SIZE, "percent": 100, "options": options, "seed": 100}
    )
    tried = setup.model_copy(update={"options": f"{options} prototype=probed_head"})

    assert run(tried, place).accuracy > run(setup, place).accuracy + 0.3  # the step still moves the batch norms


@pytest.mark.parametrize(
    ("method", "prototype"), [("vanilla", "symmetric"), ("linear_probe", "fast_backbone"), ("bi_tuning", "symetric")]
)
def test_prototype_that_changes_nothing_is_refused(method: MethodName, prototype: str) -> None:
    with pytest.raises(ValueError, match=prototype):
        check_prototype(SETUP.model_copy(update={"method": method, "options": f"prototype={prototype}"}))
    check_prototype(SETUP.model_copy(update={"options": "prototype=symmetric"}))
