"""Whether a model knows what it does not know: `python -m benchmarks.honesty`.

Trains one model of ELPV as a job does, and asks it of the held-out cells and of pictures that have nothing to do with
cells: does the unknown score tell the two apart, do prediction sets hold the true label as often as asked, and
are probabilities what they say.
"""

import argparse
import hashlib
import logging
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.accuracy.contest import Prepared, prepare, train
from benchmarks.accuracy.places import open_place
from benchmarks.accuracy.rows import Setup
from benchmarks.accuracy.sources import write_elpv
from benchmarks.unrelated import make_unrelated
from cli.bundled_backbone import BUNDLED_NAME, find_bundled_weights
from core.inference.backbone_weights import convert_weights
from core.inference.conformal import choose_labels, compute_scores, find_threshold
from core.inference.model_card import WEIGHTS_FILE, ModelCard
from core.inference.predicted import Predicted
from core.inference.predictor import Predictor
from core.inference.preprocessing import prepare as prepare_picture
from core.training.artifact import read_card

COVERAGE = 0.95
SPLITS = 20
CHUNK = 32
log = logging.getLogger(__name__)
Scores = NDArray[np.floating]


def main() -> None:
    options = _parse_options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")  # on standard error, with each epoch
    with tempfile.TemporaryDirectory(prefix="bitune-honesty-") as name:
        folder = Path(name)
        weights = folder / "backbone.safetensors"
        convert_weights(find_bundled_weights(), BUNDLED_NAME, weights)
        with open_place(lambda path: write_elpv(path, 2), weights, num_threads=os.cpu_count() or 1) as place:
            prepared = prepare(_make_setup(options, weights), place, folder)
            log.info("pictures decoded")
            train(*prepared)
            log.info("trained")
            report(prepared, options)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", choices=["bi_tuning", "vanilla", "linear_probe"], default="bi_tuning")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--percent", type=int, default=25, help="of the 1,968 cells that are not held out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unrelated", type=int, default=60, help="pictures of each group")
    return parser.parse_args()


def _make_setup(options: argparse.Namespace, weights: Path) -> Setup:
    return Setup(
        dataset="elpv",
        task=2,
        percent=options.percent,
        method=options.method,
        options=f"epochs={options.epochs}",
        seed=options.seed,
        backbone=BUNDLED_NAME,
        weights_sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        image_size=options.image_size,
        device="cpu",
    )


def report(prepared: Prepared, options: argparse.Namespace) -> None:
    artifact = prepared.job.output_dir / "artifact"
    card = read_card(artifact)
    predictor = Predictor.load(artifact / WEIGHTS_FILE, card)
    cells = prepared.samples.test
    places = np.arange(len(cells))
    predicted = ask(predictor, cells.read_squares(places).permute(0, 2, 3, 1).numpy())
    print(
        f"{len(prepared.samples.train)} cells trained on, {len(prepared.samples.val)} validate, {len(cells)} held out"
    )
    print(f"accuracy {card.evaluation.accuracy:.3f}, parity {card.parity}, threshold {card.unknown_threshold}")
    auroc = _report_unknown(predictor, card, predicted, options)
    coverage = _report_sets(predicted.probabilities, cells.labels.numpy(), seed=options.seed)
    before, after = card.evaluation.calibration_error_before, card.evaluation.calibration_error
    print(f"auroc={auroc:.3f} coverage={coverage:.3f} ece_before={before:.3f} ece_after={after:.3f}")


def ask(predictor: Predictor, pixels: NDArray[np.uint8]) -> Predicted:
    """Of a model with keys, of any number of pictures (N, S, S, 3)."""
    parts = [predictor.predict(pixels[start : start + CHUNK]) for start in range(0, len(pixels), CHUNK)]
    return Predicted(
        probabilities=np.concatenate([part.probabilities for part in parts]),
        unknown_scores=np.concatenate([_take_scores(part) for part in parts]),
    )


def _take_scores(predicted: Predicted) -> NDArray[np.float32]:
    if predicted.unknown_scores is None:
        raise ValueError("the model has no keys")
    return predicted.unknown_scores


def _report_unknown(predictor: Predictor, card: ModelCard, cells: Predicted, options: argparse.Namespace) -> float:
    """Returns the AUROC of the unknown score over all groups."""
    groups = make_unrelated(options.unrelated, seed=options.seed)
    answers = {name: ask(predictor, _stack(pictures, card)) for name, pictures in groups.items()}
    everything = Predicted(
        np.concatenate([answer.probabilities for answer in answers.values()]),
        np.concatenate([_take_scores(answer) for answer in answers.values()]),
    )
    print("| pictures | count | AUROC, unknown score | AUROC, 1 - largest probability | called unknown |")
    print("|---|---|---|---|---|")
    print(f"| cells, held out | {len(cells.probabilities)} | | | {_count_unknown(cells, card):.1%} |")
    for name, answer in (answers | {"all of these": everything}).items():
        by_score = compute_auroc(_take_scores(cells), _take_scores(answer))
        by_doubt = compute_auroc(_doubt(cells), _doubt(answer))
        shown = f"{by_score:.3f} | {by_doubt:.3f} | {_count_unknown(answer, card):.1%}"
        print(f"| {name} | {len(answer.probabilities)} | {shown} |")
    return compute_auroc(_take_scores(cells), _take_scores(everything))


def _stack(pictures: list[Image.Image], card: ModelCard) -> NDArray[np.uint8]:
    return np.stack([prepare_picture(picture, card.preprocessing) for picture in pictures])


def _doubt(predicted: Predicted) -> Scores:
    doubts: Scores = 1 - predicted.probabilities.max(axis=1).astype(np.float64)
    return doubts


def _count_unknown(predicted: Predicted, card: ModelCard) -> float:
    return float(np.mean(_take_scores(predicted) > (card.unknown_threshold or 0)))


def compute_auroc(negatives: Scores, positives: Scores) -> float:
    """How often a positive scores above a negative; a tie counts half. From sorted ranks (Mann and Whitney 1947)."""
    ordered = np.sort(negatives)
    below = np.searchsorted(ordered, positives, side="left")
    not_above = np.searchsorted(ordered, positives, side="right")
    return float((below + not_above).mean() / (2 * len(negatives)))


def _report_sets(probabilities: NDArray[np.float32], labels: NDArray[np.int64], *, seed: int) -> float:
    """Returns the mean coverage over random halves: one calibrates, the other is asked."""
    random = np.random.default_rng(seed)
    results = np.array([_try_sets(probabilities, labels, random.permutation(len(labels))) for _ in range(SPLITS)])
    coverage, size = results.mean(axis=0)
    lowest, highest = results[:, 0].min(), results[:, 0].max()
    print(f"coverage {COVERAGE} asked: {coverage:.3f} ({lowest:.3f} to {highest:.3f}), {size:.2f} labels in a set")
    return float(coverage)


def _try_sets(
    probabilities: NDArray[np.float32], labels: NDArray[np.int64], order: NDArray[np.int64]
) -> tuple[float, float]:
    """Coverage and mean size."""
    calibrating, asked = np.array_split(order, 2)
    scores = compute_scores(probabilities[calibrating].astype(np.float64), labels[calibrating])
    threshold = find_threshold(scores, COVERAGE)
    sets = [choose_labels(row, threshold) for row in probabilities[asked]]
    hits = [label in chosen for label, chosen in zip(labels[asked], sets, strict=True)]
    return float(np.mean(hits)), float(np.mean([len(chosen) for chosen in sets]))


if __name__ == "__main__":
    main()
