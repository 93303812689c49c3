"""The end of training: the best weights are calibrated, tried on the test split, and become the artifact."""

from collections.abc import Callable
from pathlib import Path

import torch

from core.inference.classifier import Classifier, create_backbone
from core.inference.conformal import compute_scores
from core.inference.exported_network import frame
from core.inference.model_card import Evaluation
from core.inference.normalize import Normalizer
from core.inference.novelty import KEYS_NAME, find_unknown_threshold
from core.inference.preprocessing import make_preprocessing
from core.trainer_protocol import Finished, TrainerJob
from core.training.artifact import Artifact, Calibration, add_parity, read_card, write_artifact
from core.training.checkpoint import BestEpoch, State, Weights
from core.training.data import SampleSet, SplitSamples
from core.training.evaluation import compute_outputs
from core.training.evaluation_report import Answers, compare, report
from core.training.journal import Journal
from core.training.novelty_keys import compute_keys, read_squares
from core.training.parity import Evaluated, measure_parity
from core.training.statistics import fit_temperature


def conclude(
    job: TrainerJob, state: State, samples: SplitSamples, journal: Journal, *, on_batch: Callable[[], None]
) -> Finished:
    """Of all contenders the first is the model; the others are what it is compared to. `on_batch` may raise."""
    examiner = _Examiner(job, on_batch)
    (model, *baselines), best = state.finished_weights, state.counters.finished[0]
    weights = examiner.remember(model, samples.train)
    validation = examiner.ask(weights, samples.val)
    calibration = _calibrate(validation)
    temperature = calibration.temperature
    answers = [examiner.ask(each, samples.held_out) for each in (weights, *baselines)]
    evaluation = _evaluate(job, samples, answers, temperature)
    metrics = _gather_metrics(best, evaluation)
    directory = job.output_dir / "artifact"
    write_artifact(directory, job, Artifact(weights, best.encoder, calibration, metrics, evaluation))
    evaluated = Evaluated(samples.held_out, answers[0].probabilities(temperature))
    _try_predict(directory, job, evaluated, journal, on_batch)
    speed = journal.measure(torch.device(job.device))
    return Finished(directory=directory, metrics=metrics, speed=speed, seconds=journal.seconds)


def _calibrate(validation: Answers) -> Calibration:
    temperature = fit_temperature(validation.logits, validation.labels)
    unknown_scores = validation.unknown_scores
    return Calibration(
        temperature=temperature,
        conformal_scores=compute_scores(validation.probabilities(temperature).numpy(), validation.labels.numpy()),
        unknown_threshold=None if unknown_scores is None else find_unknown_threshold(unknown_scores),
    )


def _evaluate(job: TrainerJob, samples: SplitSamples, answers: list[Answers], temperature: float) -> Evaluation:
    model, *others = answers
    names = [method.type for method in job.spec.contenders[1:]]
    return report(
        model,
        samples.held_out,
        job.classes,
        is_test=samples.has_test,
        temperature=temperature,
        comparisons=compare(model, dict(zip(names, others, strict=True))),
    )


def _try_predict(
    directory: Path, job: TrainerJob, evaluated: Evaluated, journal: Journal, on_batch: Callable[[], None]
) -> None:
    """A model that predict serves otherwise than it was evaluated is kept, to be looked at, and says so."""
    parity = measure_parity(directory, read_card(directory), job.dataset_dir, evaluated, on_batch=on_batch)
    add_parity(directory, parity)
    if not parity.is_sufficient:
        journal.say_not_ready(parity)


class _Examiner:
    """Asks one model after another, in one network."""

    def __init__(self, job: TrainerJob, on_batch: Callable[[], None]) -> None:
        device = torch.device(job.device)
        self._classifier = Classifier(
            create_backbone(job.backbone.name), num_features=job.backbone.num_features, num_classes=len(job.classes)
        )
        self._classifier.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self._device = device
        self._dataset_dir = job.dataset_dir
        self._preprocessing = make_preprocessing(job.backbone, job.spec.training.image_size)
        self._normalize = Normalizer(self._preprocessing, device)
        self._on_batch = on_batch

    def remember(self, weights: Weights, samples: SampleSet) -> Weights:
        """With keys of samples that the model learned from, where any is still readable."""
        self._classifier.load_state_dict(weights)
        squares = read_squares(self._dataset_dir, samples, self._preprocessing)
        keys = compute_keys(
            self._classifier.backbone, squares, self._normalize, device=self._device, on_batch=self._on_batch
        )
        return weights if keys is None else weights | {KEYS_NAME: keys}

    def ask(self, weights: Weights, samples: SampleSet) -> Answers:
        network = frame(self._classifier, weights)
        network.load_state_dict(weights)
        outputs = compute_outputs(network, samples, self._normalize, on_batch=self._on_batch)
        return Answers(outputs.logits, samples.labels, outputs.unknown_scores)


def _gather_metrics(best: BestEpoch, evaluation: Evaluation) -> dict[str, float]:
    return {
        f"{evaluation.split}_accuracy": evaluation.accuracy,
        f"{evaluation.split}_loss": evaluation.loss,
        "val_accuracy": best.accuracy,
        "val_loss": best.loss,
        "best_epoch": float(best.epoch),
    }
