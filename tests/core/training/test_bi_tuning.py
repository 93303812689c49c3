from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.inference.classifier import Classifier
from core.specs import ResolvedBiTuningSpec
from core.training.methods.bi_tuning import BiTuning
from core.training.networks import build_classifier
from tests.core.training.jobs import describe, make_weights
from tests.core.training.twins import TwinQueue, twin_cce, twin_ccl

SPEC = ResolvedBiTuningSpec(queue_size=3, encoder_momentum=0.8, projection_dim=8, temperature=0.2)
LABELS = torch.tensor([0, 2, 2, 1])


@pytest.fixture
def method(tmp_path: Path) -> BiTuning:
    generator = torch.Generator().manual_seed(0)
    weights = make_weights(tmp_path / "weights.safetensors")
    classifier = build_classifier(describe(), weights, image_size=32, num_classes=3, generator=generator)
    return BiTuning(classifier, SPEC, generator)


def make_views(seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(len(LABELS), 3, 32, 32, generator=generator) for _ in range(2)]


def has_gradient(module: nn.Module) -> bool:
    return any(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize(
    ("loss", "head", "projector"), [("loss_ce", True, False), ("loss_cce", False, False), ("loss_ccl", False, True)]
)
def test_gradient_of_each_loss_reaches_its_own_parts(method: BiTuning, loss: str, head: bool, projector: bool) -> None:
    method.compute_losses(make_views(), LABELS)[loss].backward()

    classifier = method.classifier
    reached = (has_gradient(classifier.backbone), has_gradient(classifier.head), has_gradient(method.query.projector))
    assert reached == (True, head, projector)
    assert not has_gradient(method.key)


def test_total_is_the_plain_sum(method: BiTuning) -> None:
    losses = method.compute_losses(make_views(), LABELS)

    assert losses["loss"] == losses["loss_ce"] + losses["loss_cce"] + losses["loss_ccl"]


def test_key_encoder_starts_as_the_query_encoder(method: BiTuning) -> None:
    query, key = method.query.state_dict(), method.key.state_dict()

    assert all(torch.equal(query[name], key[name]) for name in query)


def test_key_encoder_follows_by_momentum(method: BiTuning) -> None:
    before = [parameter.clone() for parameter in method.key.parameters()]
    with torch.no_grad():
        for parameter in method.query.parameters():
            parameter.add_(1.0)

    method.begin_step()

    query = list(method.query.parameters())
    for old, key, new in zip(before, method.key.parameters(), query, strict=True):
        torch.testing.assert_close(key, 0.8 * old + 0.2 * new)


def test_batch_norm_of_the_key_encoder_sees_its_own_batches(method: BiTuning) -> None:
    views = make_views()
    before = {name: value.clone() for name, value in method.key.state_dict().items()}

    method.compute_losses([views[0], views[1] * 3], LABELS)

    name = "classifier.backbone.bn1.running_var"
    assert not torch.equal(method.key.state_dict()[name], before[name])
    assert not torch.equal(method.key.state_dict()[name], method.query.state_dict()[name])


def test_losses_of_successive_batches_equal_the_twins(method: BiTuning) -> None:
    """L_CCL must read its queue before the batch goes in, L_CCE after."""
    method.eval()  # so that the encoders can be asked twice
    projections, features = TwinQueue(3, SPEC.queue_size), TwinQueue(3, SPEC.queue_size)
    labels = LABELS.tolist()

    for seed in range(4):
        views = make_views(seed)
        method.begin_step()
        with torch.no_grad():
            logits, query_projections, query_features = method.query(views[0])
            _, own_projections, own_features = method.key(views[1])
            losses = method.compute_losses(views, LABELS)
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
