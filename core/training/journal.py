"""What training says of itself: lines for the worker, and a log for people."""

import logging
import time
from pathlib import Path
from typing import Literal

import torch

from core.inference.model_card import Parity
from core.specs import ResolvedMethodSpec
from core.trainer_protocol import CheckpointSaved, Finished, Metrics, Note, Progress, Speed
from core.training.checkpoint import FILES, Counters
from core.training.pace import Pace
from core.training.plan import Plan
from core.training.recorder import Recorder

log = logging.getLogger(__name__)


class Journal:
    """Knows the plan and the pace, so that every progress line carries a rate and an estimate."""

    def __init__(
        self,
        recorder: Recorder,
        plan: Plan,
        contenders: list[ResolvedMethodSpec],
        *,
        val_samples: int,
        final_samples: int,
    ) -> None:
        self._recorder = recorder
        self._contenders = contenders
        self._plan = plan
        self._val_samples = val_samples  # evaluated after every epoch
        self._final_samples = final_samples  # evaluated or remembered once, at the end
        self._pace = Pace()
        self._started_at = time.monotonic()

    def start(self, counters: Counters, notes: list[Note]) -> None:
        """Of a contender; its notes are not said again when it goes on from a checkpoint."""
        method, plan = self._contenders[counters.contender].type, self._plan
        log.info(
            "training %s from step %d of %d, %d an epoch", method, counters.step, plan.total_steps, plan.steps_per_epoch
        )
        for note in notes if counters.step == 0 else []:
            self._recorder.say(note)
        self._pace.restart()

    def count_step(self, counters: Counters) -> None:
        if self._pace.seconds_per_step is None:
            log.info("first step done")
        self._pace.count_step()
        self.say_progress("training", counters)

    def count_validation(self) -> None:
        self._pace.count_evaluation(self._val_samples)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started_at

    def measure(self, device: torch.device) -> Speed | None:
        """Over all that was trained so far."""
        if self._pace.seconds_per_step is None:
            return None
        return Speed(
            seconds_per_step=self._pace.seconds_per_step,
            seconds_per_picture=self._pace.seconds_per_picture,
            seconds_beside=self.seconds - self._pace.counted_seconds,
            device=torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
        )

    def say_progress(self, stage: Literal["training", "evaluating"], counters: Counters) -> None:
        left = self._count_steps_left(counters)
        self._recorder.say_progress(
            Progress(
                stage=stage,
                step=counters.total_step,
                total_steps=counters.total_step + left,
                epoch=self._find_epoch(counters),
                total_epochs=self._plan.epochs,
                images_per_second=self._pace.images_per_second(self._plan.batch_size),
                eta_seconds=self._pace.eta_seconds(steps=left, pictures=self._count_pictures(left)),
            )
        )

    def say_metrics(self, counters: Counters, values: dict[str, float]) -> None:
        """A baseline's carry its name."""
        prefix = f"{self._contenders[counters.contender].type}_" if counters.contender else ""
        named = {prefix + name: value for name, value in values.items()}
        self._recorder.say(Metrics(step=counters.total_step, epoch=self._plan.epoch_of(counters.step), values=named))

    def say_epoch(self, counters: Counters) -> None:
        self.say_metrics(counters, counters.metrics)
        values = ", ".join(f"{name} {value:.4f}" for name, value in counters.metrics.items())
        log.info("epoch %d of %d: %s", counters.epochs_validated, self._plan.epochs, values)

    def say_smaller_micro_batch(self, counters: Counters) -> None:
        message = f"memory ran out: {counters.micro_batch_size} samples at once from here on; the batch stays as it is"
        details = {"micro_batch_size": counters.micro_batch_size, "step": counters.total_step}
        self._recorder.say(Note(level="warning", code="micro_batch_halved", message=message, details=details))

    def say_checkpoint(self, counters: Counters, directory: Path) -> None:
        log.info("checkpoint at step %d", counters.total_step)
        self._recorder.say(
            CheckpointSaved(
                step=counters.total_step,
                epoch=self._plan.epoch_of(counters.step),
                directory=directory,
                files=FILES,
                metrics=counters.metrics,
                is_best=self.is_best(counters),
            )
        )
        self._pace.restart()

    def say_no_space(self, error: Exception) -> None:
        log.warning("no checkpoint: %s", error)
        message = "the disk of its worker is too full for a checkpoint: a crash would cost all since the last one"
        self._recorder.say(Note(level="warning", code="checkpoint_skipped", message=message))

    def say_early_stop(self, counters: Counters) -> None:
        method = self._contenders[counters.contender].type
        message = f"{method}: no better validation accuracy for {counters.epochs_without_gain} epochs"
        self._recorder.say(
            Note(
                level="info",
                code="stopped_early",
                message=message,
                details={"epoch": counters.epochs_validated, "method": method},
            )
        )

    def say_no_test_split(self) -> None:
        message = "the dataset keeps no test split: the model is evaluated on validation, which is optimistic"
        self._recorder.say(Note(level="warning", code="no_test_split", message=message))

    def say_not_ready(self, parity: Parity) -> None:
        message = f"the model is not ready: {parity.describe()}"
        self._recorder.say(Note(level="warning", code="model_not_ready", message=message, details=parity.model_dump()))

    def say_finished(self, finished: Finished) -> None:
        log.info("finished: %s", finished.metrics)
        self._recorder.say(finished)

    def _find_epoch(self, counters: Counters) -> int:
        """Of the contender in training; the last one when all are done."""
        is_done = counters.contender == len(self._contenders)
        return self._plan.epochs if is_done else self._plan.epoch_of(counters.step)

    def is_best(self, counters: Counters) -> bool:
        """Whether this is the end of the epoch that would be exported."""
        if counters.contender or counters.best is None:
            return False
        return counters.step == counters.best.epoch * self._plan.steps_per_epoch

    def _count_steps_left(self, counters: Counters) -> int:
        """Of this contender and those that follow; none is left in the end."""
        return max(0, (len(self._contenders) - counters.contender) * self._plan.total_steps - counters.step)

    def _count_pictures(self, steps: int) -> int:
        """Those that are validated along as many steps, and evaluated at the end."""
        return -(-steps // self._plan.steps_per_epoch) * self._val_samples + self._final_samples
