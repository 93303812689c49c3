"""From a method's spec to the method: the one place that knows them all."""

from typing import assert_never

import torch

from core.inference.classifier import Classifier
from core.specs import LinearProbeSpec, ResolvedBiTuningSpec, ResolvedMethodSpec, ResolvedSpec, VanillaSpec
from core.training.losses import CrossEntropy
from core.training.methods.base import Method
from core.training.methods.bi_tuning import BiTuning
from core.training.methods.linear_probe import LinearProbe
from core.training.methods.vanilla import Vanilla


def build_method(
    method: ResolvedMethodSpec,
    spec: ResolvedSpec,
    classes: list[str],
    classifier: Classifier,
    generator: torch.Generator,
) -> Method:
    """`method` is one of the spec's contenders."""
    criterion = _build_criterion(spec, classes)
    keeps_statistics = spec.training.batch_norm == "pretrained"
    match method:
        case ResolvedBiTuningSpec():
            return BiTuning(
                classifier,
                method,
                criterion,
                generator,
                batch_size=spec.training.batch_size,
                seed=spec.seed,
                keeps_statistics=keeps_statistics,
            )
        case VanillaSpec():
            return Vanilla(classifier, criterion, keeps_statistics=keeps_statistics)
        case LinearProbeSpec():
            return LinearProbe(classifier, criterion)
        case _:
            assert_never(method)


def _build_criterion(spec: ResolvedSpec, classes: list[str]) -> CrossEntropy:
    """Weights go by name: a store may change the order of a spec's keys."""
    by_name = spec.training.class_weights
    weights = None if by_name is None else [by_name[name] for name in classes]
    return CrossEntropy(weights, label_smoothing=spec.training.label_smoothing)
