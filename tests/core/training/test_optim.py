from pathlib import Path

import pytest
import torch

from core.specs import ResolvedMethodSpec, ResolvedOptimizationSpec
from core.training.methods.build import build_method
from core.training.networks import build_classifier
from core.training.optim import build_optimizer, schedule, set_learning_rate
from tests.core.training.jobs import BI_TUNING, LINEAR_PROBE, describe, make_spec, make_weights

TRAINING = make_spec(BI_TUNING, learning_rate=0.5).training


def make_optimizer(directory: Path, method: ResolvedMethodSpec = BI_TUNING) -> torch.optim.SGD:
    generator = torch.Generator().manual_seed(0)
    weights = make_weights(directory / "weights.safetensors")
    classifier = build_classifier(describe(), weights, image_size=32, num_classes=3, generator=generator)
    return build_optimizer(build_method(method, make_spec(method), ["a", "b", "c"], classifier, generator), TRAINING)


def list_factors(training: ResolvedOptimizationSpec) -> list[float]:
    return [schedule(training, step=step, total_steps=100) for step in range(100)]


def test_all_but_the_head_learns_at_a_tenth(tmp_path: Path) -> None:
    optimizer = make_optimizer(tmp_path)

    set_learning_rate(optimizer, TRAINING, step=5, total_steps=100)  # the first after the warm-up

    slow, head = optimizer.param_groups
    assert (slow["lr"], head["lr"]) == pytest.approx((0.05, 0.5))
    assert [parameter.shape for parameter in head["params"]] == [(3, 256), (3,)]


def test_key_encoder_is_not_optimized(tmp_path: Path) -> None:
    parameters = [parameter for group in make_optimizer(tmp_path).param_groups for parameter in group["params"]]

    assert all(parameter.requires_grad for parameter in parameters)


def test_linear_probe_optimizes_its_head_alone(tmp_path: Path) -> None:
    (head,) = make_optimizer(tmp_path, LINEAR_PROBE).param_groups

    assert [parameter.shape for parameter in head["params"]] == [(3, 256), (3,)]


def test_cosine_warms_up_and_then_falls_to_almost_nothing() -> None:
    factors = list_factors(TRAINING)

    assert factors[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert factors[5:] == sorted(factors[5:], reverse=True)
    assert 0 < factors[-1] < 0.001


def test_step_schedule_falls_once_at_three_fifths() -> None:
    training = TRAINING.model_copy(update={"schedule": "step", "warm_up_fraction": 0.0})

    assert list_factors(training) == [1.0] * 60 + [0.1] * 40
