"""What every method must do on every family of backbones: a convolutional, a transformer and a ConvNeXt-like one."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from core.inference.model_card import WEIGHTS_FILE
from core.inference.predictor import Predictor
from core.inference.preprocessing import prepare
from core.specs import ResolvedMethodSpec
from core.trainer_protocol import TrainerJob
from core.training.contenders import build_contender
from core.training.methods.base import Batch, Method
from core.training.optim import build_optimizer
from core.training.ranks import Ranks
from tests.core.training.jobs import (
    METHODS,
    describe,
    make_dataset,
    make_job,
    make_sample,
    make_spec,
    read_card,
    read_weights,
    run_job,
)

BACKBONES = ["test_resnet", "test_vit", "test_convnext"]
BATCH_SIZE = 4
LABELS = torch.tensor([0, 1, 1, 0])


def test_every_method_is_here() -> None:
    union, _ = get_args(ResolvedMethodSpec)
    assert {type(method) for method in METHODS} == set(get_args(union))


@pytest.fixture(scope="module")
def dataset_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("conformance") / "dataset")


def make(directory: Path, method: ResolvedMethodSpec, backbone: str, dataset_dir: Path) -> TrainerJob:
    spec = make_spec(method, backbone=backbone, image_size=describe(backbone).image_size, epochs=1)
    return make_job(directory, spec, dataset_dir=dataset_dir)


@pytest.fixture(params=BACKBONES)
def backbone(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=METHODS, ids=lambda method: method.type)
def job(request: pytest.FixtureRequest, tmp_path: Path, backbone: str, dataset_dir: Path) -> TrainerJob:
    """Of every method on every backbone."""
    return make(tmp_path, request.param, backbone, dataset_dir)


def make_batch(job: TrainerJob, seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    size = job.spec.training.image_size
    return Batch([torch.randn(BATCH_SIZE, 3, size, size, generator=generator) for _ in range(2)], LABELS)


def take_step(method: Method, batch: Batch, step: int) -> dict[str, torch.Tensor]:
    method.begin_step(step)
    method.encode_keys(batch, BATCH_SIZE)
    method.enqueue_keys(LABELS, Ranks())
    losses = method.compute_losses(batch, slice(0, BATCH_SIZE))
    losses["loss"].backward()
    return {name: loss.detach() for name, loss in losses.items()}


def test_model_predicts_what_its_evaluation_says(job: TrainerJob) -> None:
    run_job(job)
    card = read_card(job)

    predictor = Predictor.load(job.output_dir / "artifact" / WEIGHTS_FILE, card)
    test = [make_sample(seed % 2, "test", seed) for seed in range(20, 24)]
    pixels = np.stack([prepare(sample.image, card.preprocessing) for sample in test])
    predicted = predictor.predict(pixels).probabilities.argmax(axis=1)

    right = [answer == sample.label for answer, sample in zip(predicted, test, strict=True)]
    assert np.mean(right) == card.evaluation.accuracy


def test_state_dict_is_the_whole_truth(job: TrainerJob) -> None:
    one, other = build_contender(job, 0).train(), build_contender(job, 0).train()
    take_step(one, make_batch(job, 0), 0)

    other.load_state_dict(one.state_dict())

    assert take_step(one, make_batch(job, 1), 1) == take_step(other, make_batch(job, 1), 1)


def test_every_optimized_parameter_gets_a_gradient(job: TrainerJob) -> None:
    built = build_contender(job, 0).train()
    take_step(built, make_batch(job, 0), 0)

    groups = build_optimizer(built, job.spec.training).param_groups
    gradients = [parameter.grad for group in groups for parameter in group["params"]]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_validation_changes_nothing(job: TrainerJob) -> None:
    built = build_contender(job, 0).eval()
    before = {name: value.clone() for name, value in built.state_dict().items()}

    with torch.no_grad():
        for classifier in built.candidates.values():
            classifier(make_batch(job, 0).views[0])

    assert all(torch.equal(value, before[name]) for name, value in built.state_dict().items())


def test_linear_probe_leaves_the_backbone_as_it_was(tmp_path: Path, backbone: str, dataset_dir: Path) -> None:
    job = make(tmp_path, METHODS[-1], backbone, dataset_dir)
    before = build_contender(job, 0).classifier.state_dict()

    run_job(job)

    after = read_weights(job)
    changed = [name for name, value in before.items() if not torch.equal(value, after[name])]
    assert sorted(changed) == ["head.bias", "head.weight"]
