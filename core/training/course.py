"""The course of a job: the method asked for, then the baselines with the same budget, then the evaluation."""

from collections.abc import Callable

from core.trainer_protocol import TrainerJob
from core.training.checkpoint import State
from core.training.checkpoint_writer import CheckpointWriter
from core.training.conclusion import conclude
from core.training.contenders import build_contender
from core.training.data import SplitSamples
from core.training.errors import InterruptedTraining
from core.training.journal import Journal
from core.training.novelty_keys import choose_places
from core.training.plan import Plan
from core.training.ranks import Ranks
from core.training.recorder import Recorder
from core.training.trainer import Trainer


class Course:
    """From the state of a checkpoint, or from the start, to the artifact."""

    def __init__(
        self,
        job: TrainerJob,
        samples: SplitSamples,
        state: State,
        recorder: Recorder,
        ranks: Ranks,
        *,
        should_stop: Callable[[], bool],
    ) -> None:
        self._job = job
        self._contenders = job.spec.contenders
        self._samples = samples
        self._plan = Plan.make(job.spec, train_samples=len(samples.train))
        self._state = state
        self._ranks = ranks
        self._should_stop = should_stop
        self._journal = Journal(
            recorder,
            self._plan,
            self._contenders,
            val_samples=len(samples.val),
            final_samples=len(samples.held_out) * len(self._contenders) + len(choose_places(samples.train.labels)),
        )
        self._writer = CheckpointWriter(
            job.output_dir / "checkpoints", self._journal, ranks, interval_seconds=job.checkpoint_interval_seconds
        )

    def run(self) -> None:
        """Raises InterruptedTraining after a checkpoint."""
        first = self._state.counters.contender
        for index in range(first, len(self._contenders)):
            trainer = self._make_trainer(index)
            if index == first and self._job.resume_dir is not None:
                trainer.restore(self._job.resume_dir)
            trainer.run()
            self._state.finish_contender()
        if self._ranks.is_first:
            self._conclude()

    def _make_trainer(self, index: int) -> Trainer:
        return Trainer(
            self._job,
            build_contender(self._job, index),
            self._samples,
            self._plan,
            self._journal,
            self._state,
            self._writer,
            self._ranks,
            should_stop=self._should_stop,
        )

    def _conclude(self) -> None:
        if not self._samples.has_test:
            self._journal.say_no_test_split()
        try:
            finished = conclude(self._job, self._state, self._samples, self._journal, on_batch=self._attend)
        except InterruptedTraining:
            self._writer.save(self._state, None)
            raise
        self._journal.say_finished(finished)

    def _attend(self) -> None:
        if self._should_stop():
            raise InterruptedTraining
        self._journal.say_progress("evaluating", self._state.counters)
