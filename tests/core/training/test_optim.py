from pathlib import Path

import pytest
import torch

from core.training.methods.build import build_method
from core.training.networks import build_classifier
from core.training.optim import build_optimizer, schedule, set_learning_rate
from tests.core.training.jobs import BI_TUNING, describe, make_weights


def make_optimizer(directory: Path) -> torch.optim.SGD:
    generator = torch.Generator().manual_seed(0)
    weights = make_weights(directory / "weights.safetensors")
    classifier = build_classifier(describe(), weights, image_size=32, num_classes=3, generator=generator)
    return build_optimizer(build_method(BI_TUNING, classifier, generator), learning_rate=0.5)


def test_all_but_the_head_learns_at_a_tenth(tmp_path: Path) -> None:
    optimizer = make_optimizer(tmp_path)

    set_learning_rate(optimizer, base=0.5, step=5, total_steps=100)  # the first after the warm-up

    slow, head = optimizer.param_groups
    assert (slow["lr"], head["lr"]) == pytest.approx((0.05, 0.5))
    assert [parameter.shape for parameter in head["params"]] == [(3, 256), (3,)]


def test_key_encoder_is_not_optimized(tmp_path: Path) -> None:
    parameters = [parameter for group in make_optimizer(tmp_path).param_groups for parameter in group["params"]]

    assert all(parameter.requires_grad for parameter in parameters)


def test_schedule_warms_up_and_then_falls_to_almost_nothing() -> None:
    factors = [schedule(step, 100) for step in range(100)]

    assert factors[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert factors[5:] == sorted(factors[5:], reverse=True)
    assert 0 < factors[-1] < 0.001
