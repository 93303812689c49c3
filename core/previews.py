"""What would become of a job, without creating it: the resolved spec, and what to think about before."""

from typing import NamedTuple

from sqlalchemy.orm import Session

from core import workers
from core.backbones import get_backbone
from core.dataset_index import INDEX_FILE, parse_index
from core.datasets import ClassCounts, get_trainable_dataset, require_one_source
from core.ingest.facts import gather_facts
from core.resolution import BackboneFacts, DatasetFacts, choose_temperature, resolve
from core.specs import BackboneDescription, ResolvedBiTuningSpec, ResolvedSpec, TrainingSpec
from core.speeds import JobSize
from core.storage import Storage
from core.storage_keys import dataset_attempt_prefix

FEW_SAMPLES = 50  # in a split: accuracy moves in steps of two points
IMBALANCE = 4


class Advice(NamedTuple):
    """Not an error: the job would run."""

    code: str
    message: str
    hint: str


NOT_IMPORTED = Advice(
    "dataset_not_imported",
    "the dataset is not imported yet: what depends on it cannot be told",
    "ask again with its `dataset_id` once `GET /datasets/{id}` says that it is ready",
)


class Subject(NamedTuple):
    """What a job would work with."""

    backbone: BackboneFacts
    classes: list[str]
    index_key: str | None  # None while the dataset is not imported
    gpus: list[int]  # of each worker that trains and was seen lately


class Preview(NamedTuple):
    size: JobSize | None  # None while the dataset is not imported
    advice: list[Advice]


def find_subject(
    session: Session,
    project_id: str,
    spec: TrainingSpec,
    *,
    dataset_id: str | None,
    dataset_url: str | None,
) -> Subject:
    require_one_source(dataset_id, dataset_url)
    row = get_backbone(session, spec.backbone, spec.backbone_sha256)
    description = BackboneDescription.model_validate(row.description)
    online = workers.list_online(session)
    subject = Subject(
        backbone=BackboneFacts(sha256=row.sha256, image_size=description.image_size),
        classes=[],
        index_key=None,
        gpus=[worker.gpus for worker in online if worker.queue == "train"],
    )
    if dataset_id is None:
        return subject
    dataset = get_trainable_dataset(session, project_id, dataset_id).dataset
    if dataset.attempt is None:
        return subject
    classes = [ClassCounts.model_validate(item).name for item in dataset.classes or []]
    return subject._replace(classes=classes, index_key=dataset_attempt_prefix(dataset.id, dataset.attempt) + INDEX_FILE)


def preview(storage: Storage, spec: TrainingSpec, subject: Subject) -> Preview:
    """Raises InvalidInputError for what this dataset does not allow. Call it outside any transaction."""
    advice = _advise_on_workers(spec, subject.gpus)
    if subject.index_key is None:
        return Preview(None, [*advice, NOT_IMPORTED])
    facts = gather_facts(parse_index(storage.get_bytes(subject.index_key)), subject.classes, spec)
    size = JobSize(resolve(spec, facts, subject.backbone), facts)
    return Preview(size, [*advice, *_advise_on_job(size.spec, facts)])


def _advise_on_workers(spec: TrainingSpec, gpus: list[int]) -> list[Advice]:
    if not gpus:
        return [Advice("no_worker", "no worker that trains was seen lately: the job would wait", "start one")]
    if spec.gpus != "auto" and spec.gpus > max(gpus):
        message = f"the job asks for {spec.gpus} GPUs and no worker has more than {max(gpus)}"
        return [Advice("too_few_gpus", message, 'take fewer, or "auto"')]
    return []


def _advise_on_job(spec: ResolvedSpec, facts: DatasetFacts) -> list[Advice]:
    advice = []
    if isinstance(spec.method, ResolvedBiTuningSpec) and spec.training.batch_norm != "batch":
        advice += _advise_on_temperature(spec.method, facts.num_classes, spec.training.learning_rate)
    if facts.test_samples == 0:
        message = "the dataset keeps no test split: the model will be evaluated on validation, which is optimistic"
        advice.append(Advice("no_test_split", message, "import it with a `test_fraction`"))
    for split, count in (("validation", facts.val_samples), ("test", facts.test_samples)):
        if 0 < count < FEW_SAMPLES:
            message = f"{count} samples in {split}: one of them is {100 / count:.1f} points of accuracy"
            advice.append(Advice(f"few_{split}_samples", message, "look at the interval, not at the number alone"))
    largest, smallest = max(facts.class_counts.values()), min(facts.class_counts.values())
    is_weighed = spec.training.class_weights is not None or spec.training.sampling == "balanced"
    if largest > IMBALANCE * smallest and not is_weighed:
        message = f"the largest class has {largest} training samples and the smallest {smallest}"
        advice.append(Advice("imbalanced", message, 'consider `"class_weights": "auto"` or `"sampling": "balanced"`'))
    if facts.train_samples < spec.training.batch_size:
        message = f"a batch of {spec.training.batch_size} is more than the {facts.train_samples} training samples"
        advice.append(Advice("one_short_batch", message, 'leave `batch_size` at "auto"'))
    return advice


def _advise_on_temperature(method: ResolvedBiTuningSpec, num_classes: int, learning_rate: float) -> list[Advice]:
    if not method.is_sharp(num_classes):
        return []
    better = choose_temperature(num_classes, learning_rate)
    hint = f"set `method.temperature` to {better:g}, or `training.batch_norm` to `batch`"
    return [Advice("sharp_temperature", method.describe_sharpness(num_classes), hint)]
