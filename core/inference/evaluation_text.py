"""An evaluation as a person reads it: plain text of at most 100 columns."""

from core.inference.model_card import ClassScores, Evaluation

NAME_COLUMNS = 28
SHOWN_CLASSES = 40
SHOWN_LINES = 10
SPLITS = {
    "test": "the test split, which nothing was chosen by",
    "val": "validation, by which the epoch was chosen",
}


def describe_evaluation(evaluation: Evaluation, *, encoder: str, temperature: float) -> str:
    parts = [
        _describe_accuracy(evaluation, encoder, temperature),
        _describe_comparisons(evaluation),
        _describe_classes(evaluation.classes),
        _describe_matrix(evaluation),
        _describe_mistakes(evaluation),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _describe_accuracy(evaluation: Evaluation, encoder: str, temperature: float) -> str:
    low, high = evaluation.accuracy_interval
    return (
        f"{evaluation.num_samples} samples of {SPLITS[evaluation.split]}\n"
        f"accuracy           {evaluation.accuracy:7.1%}   (95 %: {low:.1%} to {high:.1%})\n"
        f"calibration error  {evaluation.calibration_error:7.1%}   (before calibration: "
        f"{evaluation.calibration_error_before:.1%}; temperature {temperature:.2f})\n"
        f"the {encoder} encoder was the better one on validation"
    )


def _describe_comparisons(evaluation: Evaluation) -> str:
    if not evaluation.comparisons:
        return ""
    rows = [
        f"  {other.method:<{NAME_COLUMNS}} {other.accuracy:7.1%}   {100 * other.accuracy_difference:+.1f} points "
        f"(95 %: {100 * other.interval[0]:+.1f} to {100 * other.interval[1]:+.1f})"
        for other in evaluation.comparisons
    ]
    return "\n".join(["against baselines, on the same samples: accuracy, and how much better the model is", *rows])


def _describe_classes(classes: list[ClassScores]) -> str:
    rows = [
        f"  {_fit(scores.name)} {scores.precision:9.1%} {scores.recall:9.1%} {scores.f1:9.1%} {scores.support:9}"
        for scores in classes[:SHOWN_CLASSES]
    ]
    left = len(classes) - SHOWN_CLASSES
    more = [f"  … and {left} classes more"] if left > 0 else []
    return "\n".join([f"  {'class':<{NAME_COLUMNS}} precision    recall        F1   support", *rows, *more])


def _describe_matrix(evaluation: Evaluation) -> str:
    """Small matrices whole; of large ones what is confused most."""
    matrix = evaluation.confusion_matrix
    if matrix is not None and len(matrix) <= SHOWN_LINES:
        rows = [
            f"  {_fit(scores.name)} " + " ".join(f"{count:6}" for count in row)
            for scores, row in zip(evaluation.classes, matrix, strict=True)
        ]
        return "\n".join(["true class (rows), predicted class (columns, in the same order)", *rows])
    confused = evaluation.most_confused[:SHOWN_LINES]
    rows = [f"  {_fit(pair.label)} taken for {_fit(pair.predicted)} {pair.count:6}" for pair in confused]
    return "\n".join(["confused most", *rows]) if rows else ""


def _describe_mistakes(evaluation: Evaluation) -> str:
    rows = [
        f"  {mistake.probability:6.1%} {_fit(mistake.predicted)} is {_fit(mistake.label)} {mistake.path}"
        for mistake in evaluation.worst_mistakes[:SHOWN_LINES]
    ]
    return "\n".join(["worst mistakes: what it was surest of", *rows]) if rows else "no mistakes"


def _fit(name: str) -> str:
    short = name if len(name) <= NAME_COLUMNS else name[: NAME_COLUMNS - 1] + "…"
    return f"{short:<{NAME_COLUMNS}}"
