import subprocess
import sys
from pathlib import Path

from core.resolution import BackboneFacts, DatasetFacts, resolve
from core.specs import ResolvedBiTuningSpec, ResolvedSpec, TrainingSpec
from core.trainer_protocol import TASK_FILE, Note, ProbeJob
from core.training.contenders import build_contender
from core.training.methods.bi_tuning import BiTuning
from tests.core.training.jobs import describe, make_weights

BACKBONE = "tf_efficientnet_lite0"  # 1,280 features wide
NUM_CLASSES = 10_000
GIB_IN_KIB = 2**20


def make_spec() -> ResolvedSpec:
    asked = TrainingSpec.model_validate({"backbone": BACKBONE, "training": {"batch_size": 16, "image_size": 64}})
    facts = DatasetFacts(class_counts={str(number): 20 for number in range(NUM_CLASSES)})
    return resolve(asked, facts, BackboneFacts(sha256="a" * 64, image_size=64))


def make_probe(directory: Path) -> ProbeJob:
    return ProbeJob(
        spec=make_spec(),
        classes=[str(number) for number in range(NUM_CLASSES)],
        backbone=describe(BACKBONE),
        weights_path=make_weights(directory / "weights.safetensors", BACKBONE),
    )


def measure_peak_kib(work_dir: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "tests.core.training.many_classes_process", str(work_dir)],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def test_ten_thousand_classes_train_and_resume_within_two_gibibytes(tmp_path: Path) -> None:
    (tmp_path / TASK_FILE).write_text(make_probe(tmp_path).model_dump_json())

    trained, resumed = measure_peak_kib(tmp_path), measure_peak_kib(tmp_path)

    assert max(trained, resumed) < 2 * GIB_IN_KIB


def test_capped_negatives_are_said(tmp_path: Path) -> None:
    method = build_contender(make_probe(tmp_path), 0)

    assert isinstance(method, BiTuning)
    assert isinstance(method.spec, ResolvedBiTuningSpec)
    assert [(note.code, note.details["classes"]) for note in method.notes] == [("negatives_sampled", NUM_CLASSES)]
    assert method.notes[0] == Note.model_validate(method.notes[0].model_dump())
