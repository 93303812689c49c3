"""A trainer of one method, without the course of a whole job."""

from core.trainer_protocol import TrainerJob
from core.training.checkpoint import State
from core.training.checkpoint_writer import CheckpointWriter
from core.training.data import load_samples
from core.training.journal import Journal
from core.training.methods.base import Method
from core.training.plan import Plan
from core.training.ranks import Ranks
from core.training.recorder import Recorder
from core.training.trainer import Trainer
from tests.core.training.jobs import never


def ignore(done: int, total: int) -> None:
    pass


def make_trainer(job: TrainerJob, method: Method, recorder: Recorder, ranks: Ranks, state: State) -> Trainer:
    samples = load_samples(job, on_progress=ignore)
    plan = Plan.make(job.spec, train_samples=len(samples.train))
    journal = Journal(recorder, plan, job.spec.contenders, val_samples=len(samples.val), final_samples=0)
    writer = CheckpointWriter(
        job.output_dir / "checkpoints", journal, ranks, interval_seconds=job.checkpoint_interval_seconds
    )
    return Trainer(job, method, samples, plan, journal, state, writer, ranks, should_stop=never)
