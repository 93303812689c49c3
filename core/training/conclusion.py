"""The end of training: the best weights are calibrated, tried on the test split, and become the artifact."""

from collections.abc import Callable

import torch

from core.inference.classifier import Classifier, create_backbone
from core.inference.conformal import compute_scores
from core.inference.model_card import Evaluation
from core.inference.normalize import Normalizer
from core.inference.preprocessing import make_preprocessing
from core.trainer_protocol import Finished, TrainerJob
from core.training.artifact import Artifact, write_artifact
from core.training.checkpoint import BestEpoch, State, Weights
from core.training.data import SampleSet, SplitSamples
from core.training.evaluation import compute_logits
from core.training.evaluation_report import Answers, compare, report
from core.training.journal import Journal
from core.training.statistics import fit_temperature


def conclude(
    job: TrainerJob, state: State, samples: SplitSamples, journal: Journal, *, on_batch: Callable[[], None]
) -> Finished:
    """Of all contenders the first is the model; the others are what it is compared to. `on_batch` may raise."""
    examiner = _Examiner(job, on_batch)
    weights, best = state.finished_weights[0], state.counters.finished[0]
    validation = examiner.ask(weights, samples.val)
    temperature = fit_temperature(validation.logits, validation.labels)
    scores = compute_scores(validation.probabilities(temperature).numpy(), validation.labels.numpy())
    evaluation = _evaluate(job, state, samples, examiner, temperature)
    metrics = _gather_metrics(best, evaluation)
    directory = job.output_dir / "artifact"
    write_artifact(directory, job, Artifact(weights, best.encoder, temperature, scores, metrics, evaluation))
    speed = journal.measure(torch.device(job.device))
    return Finished(directory=directory, metrics=metrics, speed=speed, seconds=journal.seconds)


def _evaluate(
    job: TrainerJob, state: State, samples: SplitSamples, examiner: "_Examiner", temperature: float
) -> Evaluation:
    """On the test split; on validation, and so optimistic, where the dataset keeps none."""
    is_test = len(samples.test) > 0
    held_out = samples.test if is_test else samples.val
    model, *others = (examiner.ask(weights, held_out) for weights in state.finished_weights)
    names = [method.type for method in job.spec.contenders[1:]]
    return report(
        model,
        held_out,
        job.classes,
        is_test=is_test,
        temperature=temperature,
        comparisons=compare(model, dict(zip(names, others, strict=True))),
    )


class _Examiner:
    """Asks one model after another, in one network."""

    def __init__(self, job: TrainerJob, on_batch: Callable[[], None]) -> None:
        device = torch.device(job.device)
        self._classifier = Classifier(
            create_backbone(job.backbone.name), num_features=job.backbone.num_features, num_classes=len(job.classes)
        )
        self._classifier.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self._normalize = Normalizer(make_preprocessing(job.backbone, job.spec.training.image_size), device)
        self._on_batch = on_batch

    def ask(self, weights: Weights, samples: SampleSet) -> Answers:
        self._classifier.load_state_dict(weights)
        logits = compute_logits(self._classifier, samples, self._normalize, on_batch=self._on_batch)
        return Answers(logits=logits, labels=samples.labels)


def _gather_metrics(best: BestEpoch, evaluation: Evaluation) -> dict[str, float]:
    return {
        f"{evaluation.split}_accuracy": evaluation.accuracy,
        f"{evaluation.split}_loss": evaluation.loss,
        "val_accuracy": best.accuracy,
        "val_loss": best.loss,
        "best_epoch": float(best.epoch),
    }
