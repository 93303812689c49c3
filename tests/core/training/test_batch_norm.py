"""What batch norm normalises by while a method learns, and what is exported of it."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from timm.layers.evo_norm import EvoNorm2dB0
from torch import Tensor, nn

from core.inference.classifier import Classifier
from core.specs import ResolvedMethodSpec
from core.training.losses import CrossEntropy
from core.training.methods.base import Batch, Method
from core.training.methods.build import build_method
from core.training.methods.vanilla import Vanilla
from core.training.networks import build_classifier
from core.training.ranks import Ranks
from tests.core.training.jobs import (
    BI_TUNING,
    VANILLA,
    describe,
    make_job,
    make_spec,
    make_weights,
    read_weights,
    run_job,
)

LABELS = torch.tensor([0, 1, 1, 0])
learns_backbone = pytest.mark.parametrize("spec", [BI_TUNING, VANILLA], ids=["bi_tuning", "vanilla"])


def build(weights: Path, spec: ResolvedMethodSpec, batch_norm: str) -> Method:
    generator = torch.Generator().manual_seed(0)
    classifier = build_classifier(describe(), weights, image_size=32, num_classes=2, generator=generator)
    return build_method(spec, make_spec(spec, batch_norm=batch_norm), ["a", "b"], classifier, generator).train()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return make_weights(tmp_path / "weights.safetensors")


def learn(method: Method, micro_batch_size: int) -> dict[str, Tensor]:
    """The gradients of one batch, a micro-batch at a time, as the trainer sums them."""
    generator = torch.Generator().manual_seed(1)
    views = [torch.randn(len(LABELS), 3, 32, 32, generator=generator) for _ in range(method.num_views)]
    batch = Batch(views, LABELS)
    method.begin_step(0)
    method.encode_keys(batch, micro_batch_size)
    method.enqueue_keys(LABELS, Ranks())
    for part in batch.split(micro_batch_size):
        loss = method.compute_losses(batch, part)["loss"]
        (loss * (part.stop - part.start) / len(LABELS)).backward()
    return {name: value.grad.clone() for name, value in method.named_parameters() if value.grad is not None}


def copy_statistics(classifier: Classifier) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in classifier.state_dict().items() if "running_" in name}


def are_equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    assert left.keys() == right.keys()
    return all(torch.allclose(left[name], right[name], rtol=1e-3, atol=1e-6) for name in left)


@pytest.mark.parametrize(("batch_norm", "kept"), [("pretrained", True), ("batch", False)])
@learns_backbone
def test_statistics_of_every_encoder_stay_as_they_were_pretrained(
    weights: Path, spec: ResolvedMethodSpec, batch_norm: str, kept: bool
) -> None:
    method = build(weights, spec, batch_norm)
    before = copy_statistics(method.classifier)

    learn(method, len(LABELS))

    for encoder in method.candidates.values():
        assert are_equal(copy_statistics(encoder), before) == kept


@learns_backbone
def test_scale_and_offset_learn_beside_kept_statistics(weights: Path, spec: ResolvedMethodSpec) -> None:
    gradients = learn(build(weights, spec, "pretrained"), len(LABELS))

    of_norms = [name for name in gradients if ".bn" in name]
    assert of_norms
    assert all(gradients[name].any() for name in of_norms if name.endswith("bias"))


@pytest.mark.parametrize(("batch_norm", "same"), [("pretrained", True), ("batch", False)])
@learns_backbone
def test_size_of_a_micro_batch_does_not_matter_with_kept_statistics(
    weights: Path, spec: ResolvedMethodSpec, batch_norm: str, same: bool
) -> None:
    whole, halves = (learn(build(weights, spec, batch_norm), size) for size in (4, 2))

    assert are_equal(whole, halves) == same


@learns_backbone
def test_batch_norms_predict_while_all_others_learn(weights: Path, spec: ResolvedMethodSpec) -> None:
    method = build(weights, spec, "pretrained")
    method.eval()  # as for a validation
    method.train()

    norms = {module.training for module in method.modules() if isinstance(module, nn.BatchNorm2d)}
    others = {module.training for module in method.modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    assert (norms, others, method.training) == ({False}, {True}, True)


def test_layer_with_statistics_that_is_no_batch_norm_is_kept_too() -> None:
    norm = EvoNorm2dB0(4)
    method = Vanilla(Classifier(nn.Sequential(norm), num_features=4, num_classes=2), CrossEntropy())
    kept = Vanilla(method.classifier, CrossEntropy(), keeps_statistics=True).train()

    assert len(method.moving_statistics) == 1
    assert kept.moving_statistics == []
    assert (kept.training, norm.training) == (True, False)


@pytest.mark.parametrize(("batch_norm", "kept"), [("pretrained", True), ("batch", False)])
@learns_backbone
def test_job_exports_the_statistics_it_normalised_by(
    tmp_path: Path, spec: ResolvedMethodSpec, batch_norm: str, kept: bool
) -> None:
    job = make_job(tmp_path, make_spec(spec, batch_norm=batch_norm))

    run_job(job)

    pretrained = load_file(job.weights_path)
    exported = read_weights(job)
    names = [name for name in pretrained if "running_" in name]
    assert names
    assert all(torch.equal(exported[f"backbone.{name}"], pretrained[name]) for name in names) == kept
