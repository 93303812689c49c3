"""The end of training: the best weights are tried on the test split and become the artifact."""

from collections.abc import Callable
from copy import deepcopy

import torch

from core.inference.classifier import Classifier
from core.inference.model_card import Evaluation
from core.inference.normalize import Normalizer
from core.inference.preprocessing import make_preprocessing
from core.trainer_protocol import Finished, TrainerJob
from core.training.artifact import write_artifact
from core.training.checkpoint import BestEpoch, State
from core.training.data import SplitSamples
from core.training.evaluation import evaluate


def conclude(
    job: TrainerJob, classifier: Classifier, state: State, samples: SplitSamples, *, on_batch: Callable[[], None]
) -> Finished:
    """Leaves `classifier` as it is. `on_batch` may raise to give up."""
    best = deepcopy(classifier)
    best.load_state_dict(state.best_weights)
    evaluation = _evaluate(job, best, samples, on_batch)
    metrics = _gather_metrics(state.counters.best, evaluation)
    directory = job.output_dir / "artifact"
    write_artifact(directory, job, state.best_weights, metrics=metrics, evaluation=evaluation)
    return Finished(directory=directory, metrics=metrics)


def _evaluate(
    job: TrainerJob, classifier: Classifier, samples: SplitSamples, on_batch: Callable[[], None]
) -> Evaluation:
    """On the test split; on validation, and so optimistic, where the dataset keeps none."""
    device = torch.device(job.device)
    normalize = Normalizer(make_preprocessing(job.backbone, job.spec.training.image_size), device)
    has_test = len(samples.test) > 0
    tally = evaluate(classifier, samples.test if has_test else samples.val, normalize, device, on_batch=on_batch)
    return Evaluation(
        split="test" if has_test else "val",
        num_samples=tally.count,
        accuracy=tally.accuracy,
        loss=tally.loss,
        confusion=tally.confusion,
    )


def _gather_metrics(best: BestEpoch | None, evaluation: Evaluation) -> dict[str, float]:
    metrics = {f"{evaluation.split}_accuracy": evaluation.accuracy, f"{evaluation.split}_loss": evaluation.loss}
    if best is not None:
        metrics |= {"val_accuracy": best.accuracy, "val_loss": best.loss, "best_epoch": float(best.epoch)}
    return metrics
