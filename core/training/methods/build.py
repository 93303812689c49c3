"""From a method's spec to the method: the one place that knows them all."""

from typing import assert_never

import torch

from core.inference.classifier import Classifier
from core.specs import ResolvedBiTuningSpec, ResolvedMethodSpec, VanillaSpec
from core.training.methods.base import Method
from core.training.methods.bi_tuning import BiTuning
from core.training.methods.vanilla import Vanilla


def build_method(spec: ResolvedMethodSpec, classifier: Classifier, generator: torch.Generator) -> Method:
    match spec:
        case ResolvedBiTuningSpec():
            return BiTuning(classifier, spec, generator)
        case VanillaSpec():
            return Vanilla(classifier)
        case _:
            assert_never(spec)
