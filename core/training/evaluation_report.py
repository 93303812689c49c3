"""From logits on the held-out split to the evaluation that people read."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from core.inference.model_card import ClassScores, Comparison, Confusion, Evaluation, Mistake
from core.training.data import SampleSet
from core.training.statistics import calibration_error, count_confusions, paired_interval, wilson_interval

MAX_MATRIX_CLASSES = 100
MAX_LISTED = 20


@dataclass(frozen=True)
class Answers:
    """What a model says about every sample of a split."""

    logits: Tensor  # (M, C)
    labels: Tensor  # (M,)
    unknown_scores: Tensor | None = None  # (M,)

    @property
    def predicted(self) -> Tensor:
        return self.logits.argmax(dim=1)  # (M,)

    @property
    def is_right(self) -> Tensor:
        return self.predicted == self.labels  # (M,) bool

    @property
    def accuracy(self) -> float:
        return float(self.is_right.double().mean())

    def probabilities(self, temperature: float) -> Tensor:
        return (self.logits.double() / temperature).softmax(dim=1)


def report(
    answers: Answers,
    samples: SampleSet,
    classes: list[str],
    *,
    is_test: bool,
    temperature: float,
    comparisons: list[Comparison],
) -> Evaluation:
    probabilities = answers.probabilities(temperature)
    confusions = count_confusions(answers.predicted, answers.labels, len(classes))
    return Evaluation(
        split="test" if is_test else "val",
        num_samples=len(samples),
        accuracy=answers.accuracy,
        accuracy_interval=wilson_interval(int(answers.is_right.sum()), len(samples)),
        loss=float(functional.cross_entropy(answers.logits.double() / temperature, answers.labels)),
        calibration_error=calibration_error(probabilities, answers.labels),
        calibration_error_before=calibration_error(answers.probabilities(1.0), answers.labels),
        classes=_score_classes(confusions, classes),
        confusion_matrix=_make_matrix(confusions, len(classes)),
        most_confused=_list_confused(confusions, classes),
        worst_mistakes=_list_mistakes(answers, probabilities, samples, classes),
        comparisons=comparisons,
    )


def compare(model: Answers, baselines: dict[str, Answers]) -> list[Comparison]:
    return [
        Comparison(
            method=name,
            accuracy=baseline.accuracy,
            accuracy_difference=model.accuracy - baseline.accuracy,
            interval=paired_interval(model.is_right, baseline.is_right),
        )
        for name, baseline in baselines.items()
    ]


def _score_classes(confusions: Tensor, classes: list[str]) -> list[ClassScores]:
    counts = confusions[:, 2]
    support, predicted, right = (torch.zeros(len(classes), dtype=torch.int64) for _ in range(3))
    support.index_add_(0, confusions[:, 0], counts)
    predicted.index_add_(0, confusions[:, 1], counts)
    is_right = confusions[:, 0] == confusions[:, 1]
    right.index_add_(0, confusions[is_right, 0], counts[is_right])
    rows = zip(classes, right.tolist(), predicted.tolist(), support.tolist(), strict=True)
    return [_score(name, hits=hits, predicted=taken, support=there) for name, hits, taken, there in rows]


def _score(name: str, *, hits: int, predicted: int, support: int) -> ClassScores:
    return ClassScores(
        name=name,
        precision=hits / max(1, predicted),
        recall=hits / max(1, support),
        f1=2 * hits / max(1, predicted + support),
        support=support,
    )


def _make_matrix(confusions: Tensor, num_classes: int) -> list[list[int]] | None:
    if num_classes > MAX_MATRIX_CLASSES:
        return None
    matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    matrix[confusions[:, 0], confusions[:, 1]] = confusions[:, 2]
    return [[int(count) for count in row] for row in matrix.tolist()]


def _list_confused(confusions: Tensor, classes: list[str]) -> list[Confusion]:
    wrong = confusions[confusions[:, 0] != confusions[:, 1]]
    order = wrong[:, 2].argsort(descending=True, stable=True)[:MAX_LISTED]
    rows = wrong[order].tolist()
    return [Confusion(label=classes[label], predicted=classes[other], count=count) for label, other, count in rows]


def _list_mistakes(answers: Answers, probabilities: Tensor, samples: SampleSet, classes: list[str]) -> list[Mistake]:
    sureness = probabilities.max(dim=1).values.masked_fill(answers.is_right, -1.0)
    order = sureness.argsort(descending=True, stable=True)[:MAX_LISTED].tolist()
    return [
        Mistake(
            sample_id=samples.sample_ids[place],
            path=samples.paths[place],
            label=classes[int(answers.labels[place])],
            predicted=classes[int(answers.predicted[place])],
            probability=float(sureness[place]),
        )
        for place in order
        if sureness[place] >= 0
    ]
