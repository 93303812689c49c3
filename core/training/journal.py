"""What training says of itself: lines for the worker, and a log for people."""

import logging
from pathlib import Path
from typing import Literal

from core.trainer_protocol import CheckpointSaved, Finished, Metrics, Note, Progress
from core.training.checkpoint import FILES, Counters
from core.training.pace import Pace
from core.training.plan import Plan
from core.training.recorder import Recorder

log = logging.getLogger(__name__)


class Journal:
    """Knows the plan and the pace, so that every progress line carries a rate and an estimate."""

    def __init__(self, recorder: Recorder, plan: Plan, *, val_samples: int, final_samples: int) -> None:
        self._recorder = recorder
        self._plan = plan
        self._val_samples = val_samples  # evaluated after every epoch
        self._final_samples = final_samples  # evaluated once, at the end
        self._pace = Pace()

    def start(self, step: int) -> None:
        log.info("training from step %d of %d, %d an epoch", step, self._plan.total_steps, self._plan.steps_per_epoch)
        self._pace.restart()

    def count_step(self, step: int) -> None:
        self._pace.count_step()
        self.say_progress("training", step)

    def count_evaluation(self, num_samples: int) -> None:
        self._pace.count_evaluation(num_samples)

    def say_progress(self, stage: Literal["training", "evaluating"], step: int) -> None:
        self._recorder.say_progress(
            Progress(
                stage=stage,
                step=step,
                total_steps=self._plan.total_steps,
                epoch=self._plan.epoch_of(step),
                total_epochs=self._plan.epochs,
                images_per_second=self._pace.images_per_second(self._plan.batch_size),
                eta_seconds=self._pace.eta_seconds(
                    steps=self._plan.total_steps - step, evaluations=self._count_evaluations_left(step)
                ),
            )
        )

    def say_metrics(self, step: int, values: dict[str, float]) -> None:
        self._recorder.say(Metrics(step=step, epoch=self._plan.epoch_of(step), values=values))

    def say_epoch(self, counters: Counters) -> None:
        self.say_metrics(counters.step, counters.metrics)
        values = ", ".join(f"{name} {value:.4f}" for name, value in counters.metrics.items())
        log.info("epoch %d of %d: %s", counters.epochs_validated, self._plan.epochs, values)

    def say_checkpoint(self, counters: Counters, directory: Path) -> None:
        log.info("checkpoint at step %d", counters.step)
        self._recorder.say(
            CheckpointSaved(
                step=counters.step,
                epoch=self._plan.epoch_of(counters.step),
                directory=directory,
                files=FILES,
                metrics=counters.metrics,
                is_best=counters.best is not None and counters.step == counters.best.epoch * self._plan.steps_per_epoch,
            )
        )
        self._pace.restart()

    def say_early_stop(self, counters: Counters) -> None:
        message = f"no better validation accuracy for {counters.epochs_without_gain} epochs"
        self._recorder.say(
            Note(level="info", code="stopped_early", message=message, details={"epoch": counters.epochs_validated})
        )

    def say_no_test_split(self) -> None:
        message = "the dataset keeps no test split: the model is evaluated on validation, which is optimistic"
        self._recorder.say(Note(level="warning", code="no_test_split", message=message))

    def say_finished(self, finished: Finished) -> None:
        log.info("finished: %s", finished.metrics)
        self._recorder.say(finished)

    def _count_evaluations_left(self, step: int) -> int:
        epochs_left = self._plan.epochs - step // self._plan.steps_per_epoch
        return epochs_left * self._val_samples + self._final_samples
