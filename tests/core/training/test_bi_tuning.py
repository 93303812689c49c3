from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.inference.classifier import Classifier
from core.specs import ResolvedBiTuningSpec
from core.training.losses import CrossEntropy
from core.training.methods.base import Batch
from core.training.methods.bi_tuning import BiTuning
from core.training.networks import build_classifier
from core.training.ranks import Ranks
from tests.core.training.jobs import describe, make_weights
from tests.core.training.twins import TwinQueue, twin_cce, twin_ccl

LABELS = torch.tensor([0, 2, 2, 1])
WHOLE = slice(0, 4)
SPEC = ResolvedBiTuningSpec(
    queue_size=3,
    encoder_momentum=0.8,
    projection_dim=8,
    temperature=0.2,
    ccl_weight=0.5,
    cce_weight=2,
    queue_fill="mask",
)

Build = Callable[..., BiTuning]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """A method from SPEC with some fields changed."""
    weights = make_weights(tmp_path / "weights.safetensors")

    def build_method(**changes: object) -> BiTuning:
        generator = torch.Generator().manual_seed(0)
        classifier = build_classifier(describe(), weights, image_size=32, num_classes=3, generator=generator)
        spec = SPEC.model_copy(update=changes)
        return BiTuning(classifier, spec, CrossEntropy(), generator, batch_size=len(LABELS), seed=0)

    return build_method


def make_batch(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch([torch.randn(len(LABELS), 3, 32, 32, generator=generator) for _ in range(2)], LABELS)


def compute_losses(method: BiTuning, batch: Batch, step: int = 0) -> dict[str, Tensor]:
    """A whole step, but for the optimizer's part."""
    method.begin_step(step)
    method.encode_keys(batch, len(LABELS))
    method.enqueue_keys(LABELS, Ranks())
    return method.compute_losses(batch, WHOLE)


def has_gradient(module: nn.Module) -> bool:
    return any(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize("projector", ["linear", "mlp"])
@pytest.mark.parametrize(
    ("loss", "detach_head", "head", "in_projector"),
    [
        ("loss_ce", True, True, False),
        ("loss_cce", True, False, False),
        ("loss_cce", False, True, False),
        ("loss_ccl", True, False, True),
        ("loss_ccl", False, False, True),
    ],
)
def test_gradient_of_each_loss_reaches_its_own_parts(
    build: Build, loss: str, detach_head: bool, head: bool, in_projector: bool, projector: str
) -> None:
    method = build(detach_head=detach_head, projector=projector)
    compute_losses(method, make_batch())[loss].backward()

    classifier = method.classifier
    reached = (has_gradient(classifier.backbone), has_gradient(classifier.head), has_gradient(method.query.projector))
    assert reached == (True, head, in_projector)
    assert not has_gradient(method.key)


def test_total_is_the_weighted_sum(build: Build) -> None:
    losses = compute_losses(build(), make_batch())

    assert losses["loss"] == losses["loss_ce"] + 2 * losses["loss_cce"] + 0.5 * losses["loss_ccl"]


def test_key_encoder_starts_as_the_query_encoder(build: Build) -> None:
    method = build()
    query, key = method.query.state_dict(), method.key.state_dict()

    assert all(torch.equal(query[name], key[name]) for name in query)


def test_key_encoder_follows_by_momentum(build: Build) -> None:
    method = build()
    before = [parameter.clone() for parameter in method.key.parameters()]
    with torch.no_grad():
        for parameter in method.query.parameters():
            parameter.add_(1.0)

    method.begin_step(0)

    query = list(method.query.parameters())
    for old, key, new in zip(before, method.key.parameters(), query, strict=True):
        torch.testing.assert_close(key, 0.8 * old + 0.2 * new)


def test_key_norm_of_the_batch_sees_the_batches_of_keys(build: Build) -> None:
    method, batch = build(key_norm="batch"), make_batch()
    before = running_variance(method.key)

    compute_losses(method, Batch([batch.views[0], batch.views[1] * 3], LABELS))

    assert not torch.equal(running_variance(method.key), before)
    assert not torch.equal(running_variance(method.key), running_variance(method.query))


def test_key_norm_by_momentum_follows_the_query_encoder_alone(build: Build) -> None:
    method = build(key_norm="momentum").train()
    before = running_variance(method.key)

    compute_losses(method, make_batch(0))
    assert torch.equal(running_variance(method.key), before)

    method.begin_step(1)
    torch.testing.assert_close(running_variance(method.key), 0.8 * before + 0.2 * running_variance(method.query))


def running_variance(encoder: nn.Module) -> Tensor:
    variance: Tensor = encoder.state_dict()["classifier.backbone.bn1.running_var"]
    return variance.clone()


def test_noise_fills_the_queues_with_unit_keys(build: Build) -> None:
    method = build(queue_fill="noise")

    for queue in (method.feature_queue, method.projection_queue):
        assert queue.valid.all()
        torch.testing.assert_close(queue.keys.norm(dim=2), torch.ones(3, 3))


def test_losses_of_successive_batches_equal_the_twins(build: Build) -> None:
    """L_CCL must read its queue before the batch goes in, L_CCE after."""
    method = build().eval()  # so that the encoders can be asked twice
    projections, features = TwinQueue(3, SPEC.queue_size), TwinQueue(3, SPEC.queue_size)
    labels = LABELS.tolist()

    for seed in range(4):
        batch = make_batch(seed)
        with torch.no_grad():
            losses = compute_losses(method, batch, seed)
            logits, query_projections, query_features = method.query(batch.views[0])
            _, own_projections, own_features = method.key(batch.views[1])
        ccl = twin_ccl(query_projections, own_projections, projections, labels, SPEC.temperature)
        projections.enqueue(own_projections, labels)
        features.enqueue(own_features, labels)
        cce = twin_cce(query_features, make_class_weights(method.classifier), features, labels, SPEC.temperature)
        assert float(losses["loss_ccl"]) == pytest.approx(ccl, abs=1e-5)
        assert float(losses["loss_cce"]) == pytest.approx(cce, abs=1e-5)
        torch.testing.assert_close(losses["loss_ce"], functional.cross_entropy(logits, LABELS))


def make_class_weights(classifier: Classifier) -> Tensor:
    """w_c = [W_c ; b_c] / ‖[W_c ; b_c]‖, a class at a time."""
    head = classifier.head
    rows = [torch.cat([weight, bias.view(1)]) for weight, bias in zip(head.weight, head.bias, strict=True)]
    return torch.stack([row / row.norm() for row in rows]).detach()


def test_micro_batches_give_the_gradient_of_the_batch(build: Build) -> None:
    """In eval mode, where samples do not meet in a batch norm."""
    whole, parted = build().eval(), build().eval()
    batch = make_batch()

    compute_losses(whole, batch)["loss"].backward()
    parted.begin_step(0)
    parted.encode_keys(batch, 1)
    parted.enqueue_keys(LABELS, Ranks())
    for part in batch.split(3):
        (parted.compute_losses(batch, part)["loss"] * (part.stop - part.start) / 4).backward()

    for one, other in zip(whole.query.parameters(), parted.query.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-5, rtol=1e-4)
    assert torch.equal(whole.projection_queue.counts, parted.projection_queue.counts)


def test_autocast_leaves_keys_momentum_and_contrast_in_fp32(build: Build) -> None:
    exact, reduced = build(encoder_momentum=0.999).eval(), build(encoder_momentum=0.999).eval()
    batch = make_batch()

    expected = compute_losses(exact, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = compute_losses(reduced, batch)

    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    assert {value.dtype for value in reduced.state_dict().values() if value.is_floating_point()} == {torch.float32}
    torch.testing.assert_close(losses["loss"], expected["loss"], atol=0, rtol=0.02)
    norms = reduced.projection_queue.keys[reduced.projection_queue.valid].norm(dim=1)
    torch.testing.assert_close(norms, torch.ones_like(norms), atol=1e-6, rtol=0)


def test_small_momentum_steps_arrive_under_autocast(build: Build) -> None:
    """In bfloat16 a thousandth would vanish."""
    method = build(encoder_momentum=0.999)
    before = [parameter.clone() for parameter in method.key.parameters()]
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        for parameter in method.query.parameters():
            parameter.add_(1.0)
        method.begin_step(0)

    for old, key in zip(before, method.key.parameters(), strict=True):
        torch.testing.assert_close(key - old, torch.full_like(old, 0.001), atol=1e-6, rtol=1e-3)
