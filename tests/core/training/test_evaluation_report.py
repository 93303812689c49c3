import numpy as np
import pytest
import torch
from torch.nn import functional

from core.inference.evaluation_text import describe_evaluation
from core.inference.model_card import Evaluation
from core.training.cache import PixelCache
from core.training.data import SampleSet
from core.training.evaluation_report import MAX_LISTED, MAX_MATRIX_CLASSES, Answers, compare, report

LABELS = [0, 0, 0, 1, 1, 2]
PREDICTED = [0, 0, 1, 1, 0, 1]  # the last class is never predicted
CLASSES = ["red", "green", "blue", "never there"]


def make_answers(predicted: list[int], labels: list[int], num_classes: int = 4) -> Answers:
    """The later the sample, the surer."""
    sureness = torch.arange(1, len(labels) + 1).unsqueeze(1)
    return Answers(functional.one_hot(torch.tensor(predicted), num_classes) * sureness.float(), torch.tensor(labels))


def make_samples(count: int) -> SampleSet:
    nothing = np.zeros((0, 1, 1, 3), dtype=np.uint8)
    return SampleSet(
        cache=PixelCache(nothing, nothing, np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.bool_)),
        rows=np.arange(count),
        labels=torch.zeros(count, dtype=torch.int64),
        sample_ids=[f"sample-{number}" for number in range(count)],
        paths=[f"{number}.png" for number in range(count)],
    )


def make_report(answers: Answers, classes: list[str], baselines: dict[str, Answers] | None = None) -> Evaluation:
    return report(
        answers,
        make_samples(len(answers.labels)),
        classes,
        is_test=True,
        temperature=1.0,
        comparisons=compare(answers, baselines or {}),
    )


def test_scores_of_each_class_are_counted_against_the_rest() -> None:
    scores = make_report(make_answers(PREDICTED, LABELS), CLASSES).classes

    assert [(row.name, row.support) for row in scores] == [("red", 3), ("green", 2), ("blue", 1), ("never there", 0)]
    assert [row.precision for row in scores] == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert [row.recall for row in scores] == pytest.approx([2 / 3, 1 / 2, 0, 0])
    assert [row.f1 for row in scores] == pytest.approx([2 / 3, 2 / 5, 0, 0])


def test_matrix_has_true_classes_for_rows() -> None:
    evaluation = make_report(make_answers(PREDICTED, LABELS), CLASSES)

    assert evaluation.confusion_matrix == [[2, 1, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert evaluation.accuracy == 0.5


def test_matrix_of_many_classes_is_left_out_and_the_most_confused_stay() -> None:
    count = MAX_MATRIX_CLASSES + 1
    answers = make_answers([5, 5, 7], [3, 3, 7], num_classes=count)

    evaluation = make_report(answers, [str(number) for number in range(count)])

    assert evaluation.confusion_matrix is None
    assert [(pair.label, pair.predicted, pair.count) for pair in evaluation.most_confused] == [("3", "5", 2)]


def test_worst_mistakes_are_those_it_was_surest_of() -> None:
    mistakes = make_report(make_answers(PREDICTED, LABELS), CLASSES).worst_mistakes

    assert [(row.sample_id, row.label, row.predicted) for row in mistakes] == [
        ("sample-5", "blue", "green"),
        ("sample-4", "green", "red"),
        ("sample-2", "red", "green"),
    ]
    assert [row.probability for row in mistakes] == sorted((row.probability for row in mistakes), reverse=True)


def test_list_of_mistakes_is_bounded() -> None:
    evaluation = make_report(make_answers([1] * 50, [0] * 50), CLASSES)

    assert len(evaluation.worst_mistakes) == MAX_LISTED


def test_comparison_is_positive_where_the_model_is_better() -> None:
    baseline = make_answers([1, 1, 1, 1, 0, 1], LABELS)

    (other,) = make_report(make_answers(PREDICTED, LABELS), CLASSES, {"vanilla": baseline}).comparisons

    assert other.method == "vanilla"
    assert other.accuracy == pytest.approx(1 / 6)
    assert other.accuracy_difference == pytest.approx(2 / 6)
    assert other.interval[0] < other.accuracy_difference < other.interval[1]


def test_text_tells_what_the_numbers_say() -> None:
    evaluation = make_report(make_answers(PREDICTED, LABELS), CLASSES, {"vanilla": make_answers(LABELS, LABELS)})

    text = describe_evaluation(evaluation, encoder="key", temperature=1.25)

    assert "accuracy             50.0%   (95 %: 18.8% to 81.2%)" in text
    assert "vanilla                       100.0%   -50.0 points" in text
    assert "the key encoder was the better one" in text
    assert "5.png" in text
