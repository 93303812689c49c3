"""Trains one model as a job does, from the same specification, and judges it on its fold."""

import os
import platform
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor

from benchmarks.accuracy.folds import choose, make_samples, name_fold
from benchmarks.accuracy.prototypes import PROTOTYPE, try_out
from benchmarks.accuracy.rows import Row, Setup
from core.dataset_index import INDEX_FILE, read_index
from core.inference.backbone_catalog import describe_backbone
from core.inference.classifier import Classifier, create_backbone
from core.inference.exported_network import frame
from core.inference.freed_memory import keep_freed_memory
from core.inference.normalize import Normalizer
from core.inference.preprocessing import make_preprocessing
from core.ingest.facts import gather_facts
from core.resolution import BackboneFacts, resolve
from core.specs import MethodSpec, OptimizationSpec, TrainingSpec
from core.trainer_protocol import TrainerJob
from core.training.cache import CacheSource, open_cache
from core.training.checkpoint import State
from core.training.course import Course
from core.training.data import SampleSet, SplitSamples
from core.training.determinism import make_deterministic
from core.training.evaluation import compute_outputs
from core.training.plan import Plan
from core.training.ranks import join_ranks
from core.training.recorder import open_silent_recorder

METHOD: TypeAdapter[MethodSpec] = TypeAdapter(MethodSpec)
NEVER_SECONDS = 1e9


class Place(NamedTuple):
    """Where a machine keeps what all runs share."""

    dataset_dir: Path  # as an import left it
    classes: list[str]
    cache_dir: Path
    weights: Path  # of the backbone, as safetensors
    num_threads: int
    commit: str  # of the code that runs


def make_spec(setup: Setup) -> TrainingSpec:
    """Options that the method knows are the method's; all others are the optimization's."""
    options = {name: value for name, value in setup.read_options().items() if name != PROTOTYPE}
    of_training = {name: value for name, value in options.items() if name in OptimizationSpec.model_fields}
    of_method = {name: value for name, value in options.items() if name not in of_training}
    return TrainingSpec(
        backbone=setup.backbone,
        method=METHOD.validate_python({"type": setup.method, **of_method}),
        training=OptimizationSpec.model_validate({"image_size": setup.image_size, **of_training}),
        seed=setup.seed,
        gpus=0,
    )


class Prepared(NamedTuple):
    job: TrainerJob
    samples: SplitSamples  # the test split is what the model is judged on


def run(setup: Setup, place: Place) -> Row:
    with tempfile.TemporaryDirectory(prefix="bitune-accuracy-") as folder:
        job, samples = prepare(setup, place, Path(folder))
        began_at = time.monotonic()
        with try_out(setup.read_options().get(PROTOTYPE)):
            state = train(job, samples)
    predicted = _predict(job, state, samples.test)
    seconds = time.monotonic() - began_at
    return _describe(setup, job, state, samples, predicted, seconds=seconds, commit=place.commit)


def prepare(setup: Setup, place: Place, output_dir: Path) -> Prepared:
    """Decodes the pictures, chooses those of the setup, and fixes every number as a job does."""
    keep_freed_memory()
    make_deterministic(torch.device(setup.device), num_threads=place.num_threads)
    entries = read_index(place.dataset_dir / INDEX_FILE)
    spec = make_spec(setup)
    backbone = describe_backbone(setup.backbone)
    everything = np.ones(len(entries), dtype=np.bool_)  # whichever share a run learns from
    preprocessing = make_preprocessing(backbone, setup.image_size)
    source = CacheSource(place.dataset_dir, entries, preprocessing, everything, everything)
    cache = open_cache(place.cache_dir, source, on_progress=lambda _: None)
    chosen = choose(entries, percent=setup.percent, seed=setup.seed)
    facts = gather_facts([one.entry for one in chosen], place.classes, spec)
    job = TrainerJob(
        spec=resolve(spec, facts, BackboneFacts(sha256=setup.weights_sha256, image_size=backbone.image_size)),
        classes=place.classes,
        backbone=backbone,
        weights_path=place.weights,
        device=setup.device,
        dataset_dir=place.dataset_dir,
        cache_dir=place.cache_dir,
        output_dir=output_dir,
        checkpoint_interval_seconds=NEVER_SECONDS,
    )
    return Prepared(job, make_samples(chosen, cache, validation_fraction=spec.validation_fraction, seed=spec.seed))


def train(job: TrainerJob, samples: SplitSamples) -> State:
    state = State()
    with open_silent_recorder() as recorder, join_ranks(torch.device(job.device)) as ranks:
        Course(job, samples, state, recorder, ranks, should_stop=lambda: False).run()
    return state


def _predict(job: TrainerJob, state: State, samples: SampleSet) -> Tensor:
    """The classes that the exported model says, (M,)."""
    device = torch.device(job.device)
    weights = state.finished_weights[0]
    backbone = create_backbone(job.backbone.name)
    classifier = Classifier(backbone, num_features=job.backbone.num_features, num_classes=len(job.classes))
    network = frame(classifier, weights)
    network.load_state_dict(weights)
    network.eval().to(device)
    normalize = Normalizer(make_preprocessing(job.backbone, job.spec.training.image_size), device)
    return compute_outputs(network, samples, normalize, on_batch=lambda: None).logits.argmax(dim=1)


def _describe(
    setup: Setup,
    job: TrainerJob,
    state: State,
    samples: SplitSamples,
    predicted: Tensor,
    *,
    seconds: float,
    commit: str,
) -> Row:
    right = predicted == samples.test.labels
    recalls = [right[samples.test.labels == label].double().mean() for label in samples.test.labels.unique()]
    plan = Plan.make(job.spec, train_samples=len(samples.train))
    best = state.counters.finished[0]
    return Row(
        **setup.model_dump(),
        fold=name_fold(setup.seed),
        num_train=len(samples.train),
        num_val=len(samples.val),
        num_judged=len(samples.test),
        epochs=plan.epochs,
        steps=plan.total_steps,
        accuracy=float(right.double().mean()),
        balanced_accuracy=float(torch.stack(recalls).mean()),
        val_accuracy=best.accuracy,
        encoder=best.encoder,
        right="".join("1" if one else "0" for one in right.tolist()),
        seconds=round(seconds, 1),
        machine=_name_machine(job.device),
        torch_version=torch.__version__,
        commit=commit,
        date=datetime.now(UTC).date().isoformat(),
    )


def _name_machine(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} cores, {platform.machine()}"
