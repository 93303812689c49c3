"""Builds what competes in a job: the method asked for, and the baselines beside it."""

import torch

from core.trainer_protocol import Task
from core.training.methods.base import Method
from core.training.methods.build import build_method
from core.training.networks import build_classifier


def build_contender(task: Task, index: int) -> Method:
    """Each starts from the same pre-trained backbone and the same head."""
    generator = torch.Generator().manual_seed(task.spec.seed)
    classifier = build_classifier(
        task.backbone,
        task.weights_path,
        image_size=task.spec.training.image_size,
        num_classes=len(task.classes),
        generator=generator,
    )
    return build_method(task.spec.contenders[index], task.spec, task.classes, classifier, generator)
