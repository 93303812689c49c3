"""The training loop: data, forward, backward, step, record."""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from core.inference.normalize import Normalizer
from core.inference.preprocessing import make_preprocessing
from core.trainer_protocol import TrainerJob
from core.training.batches import TrainBatches
from core.training.checkpoint import BestEpoch, Counters, State, load_checkpoint, save_checkpoint
from core.training.conclusion import conclude
from core.training.data import SplitSamples
from core.training.errors import DivergedError, InterruptedTraining
from core.training.evaluation import Tally, evaluate
from core.training.journal import Journal
from core.training.methods.base import Method
from core.training.optim import build_optimizer, set_learning_rate
from core.training.plan import Plan

RECORD_EVERY_STEPS = 10


class Trainer:
    """One run of one method on one set of samples."""

    def __init__(
        self,
        job: TrainerJob,
        method: Method,
        samples: SplitSamples,
        plan: Plan,
        journal: Journal,
        *,
        should_stop: Callable[[], bool],
    ) -> None:
        preprocessing = make_preprocessing(job.backbone, job.spec.training.image_size)
        self._job = job
        self._device = torch.device(job.device)
        self._method = method.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self._samples = samples
        self._plan = plan
        self._journal = journal
        self._should_stop = should_stop
        self._optimizer = build_optimizer(method, learning_rate=job.spec.training.learning_rate)
        self._normalize = Normalizer(preprocessing, self._device)
        self._batches = TrainBatches(
            samples.train, job.spec, preprocessing, num_views=method.num_views, device=self._device
        )
        self._state = State()
        self._saved_at = time.monotonic()
        self._saved_step: int | None = None

    def run(self) -> None:
        """From the checkpoint, or from the start, to the artifact; raises InterruptedTraining after a checkpoint."""
        if self._job.resume_dir is not None:
            self._state = load_checkpoint(self._job.resume_dir, self._method, self._optimizer)
        try:
            self._fit()
            self._finish()
        except InterruptedTraining:
            self._save_checkpoint()
            raise

    def _fit(self) -> None:
        self._method.train()
        self._journal.start(self._counters.step)
        self._validate_if_due()  # where a stop came between the last step of an epoch and its validation
        while not self._is_done():
            self._check_stop()
            self._train_step()
            self._validate_if_due()
            if time.monotonic() - self._saved_at >= self._job.checkpoint_interval_seconds:
                self._save_checkpoint()

    def _train_step(self) -> None:
        step = self._counters.step
        epoch, number = divmod(step, self._plan.steps_per_epoch)
        views, labels = self._batches.read(epoch, number)
        self._method.begin_step()
        losses = self._method.compute_losses(views, labels)
        self._optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        set_learning_rate(
            self._optimizer,
            base=self._job.spec.training.learning_rate,
            step=step,
            total_steps=self._plan.total_steps,
        )
        self._optimizer.step()
        self._record_step(step + 1, losses)

    def _record_step(self, step: int, losses: dict[str, Tensor]) -> None:
        """Every tenth step says the mean since the epoch began; so does the epoch's end."""
        values = torch.stack([loss.detach().double() for loss in losses.values()]).tolist()  # one wait for the device
        if not all(math.isfinite(value) for value in values):
            raise DivergedError(f"the loss became {values[0]} at step {step}")
        sums = {
            name: self._counters.epoch_sums.get(name, 0.0) + value for name, value in zip(losses, values, strict=True)
        }
        self._update(step=step, epoch_sums=sums)
        self._journal.count_step(step)
        if step % RECORD_EVERY_STEPS == 0:
            self._journal.say_metrics(step, self._average_losses())

    def _average_losses(self) -> dict[str, float]:
        count = self._counters.step - self._counters.epochs_validated * self._plan.steps_per_epoch
        means = {name: value / count for name, value in self._counters.epoch_sums.items()}
        return {"train_loss" if name == "loss" else name: value for name, value in means.items()}

    def _validate_if_due(self) -> None:
        """Validates after the last step of an epoch, keeps the best weights, counts how long nothing was better."""
        if self._counters.step != (self._counters.epochs_validated + 1) * self._plan.steps_per_epoch:
            return
        tally = evaluate(
            self._method.classifier, self._samples.val, self._normalize, self._device, on_batch=self._attend_evaluation
        )
        if not math.isfinite(tally.loss):
            raise DivergedError(f"the validation loss became {tally.loss} at step {self._counters.step}")
        self._journal.count_evaluation(tally.count)
        self._take_validation(tally)
        self._journal.say_epoch(self._counters)

    def _take_validation(self, tally: Tally) -> None:
        epoch, best = self._counters.epochs_validated + 1, self._counters.best
        has_gained = best is None or tally.accuracy > best.accuracy
        if best is None or (tally.accuracy, -tally.loss) > (best.accuracy, -best.loss):
            best = BestEpoch(epoch=epoch, accuracy=tally.accuracy, loss=tally.loss)
            weights = self._method.classifier.state_dict()
            self._state.best_weights = {name: value.detach().clone() for name, value in weights.items()}
        self._update(
            best=best,
            epochs_without_gain=0 if has_gained else self._counters.epochs_without_gain + 1,
            metrics=self._average_losses() | {"val_loss": tally.loss, "val_accuracy": tally.accuracy},
            epochs_validated=epoch,
            epoch_sums={},
        )

    def _is_done(self) -> bool:
        return self._counters.step >= self._plan.total_steps or self._is_stale()

    def _is_stale(self) -> bool:
        stopping = self._job.spec.training.early_stopping
        return stopping is not None and self._counters.epochs_without_gain >= stopping.patience

    def _finish(self) -> None:
        if self._is_stale():
            self._journal.say_early_stop(self._counters)
        if len(self._samples.test) == 0:
            self._journal.say_no_test_split()
        finished = conclude(
            self._job, self._method.classifier, self._state, self._samples, on_batch=self._attend_evaluation
        )
        self._journal.say_finished(finished)

    def _attend_evaluation(self) -> None:
        self._check_stop()
        self._journal.say_progress("evaluating", self._counters.step)

    def _check_stop(self) -> None:
        if self._should_stop():
            raise InterruptedTraining

    def _save_checkpoint(self) -> None:
        counters = self._counters
        if self._saved_step == counters.step:
            return
        directory = self._job.output_dir / "checkpoints" / str(counters.step)
        save_checkpoint(directory, self._method, self._optimizer, self._state)
        self._saved_at, self._saved_step = time.monotonic(), counters.step
        self._journal.say_checkpoint(counters, directory)

    @property
    def _counters(self) -> Counters:
        return self._state.counters

    def _update(self, **changes: object) -> None:
        self._state.counters = self._counters.model_copy(update=changes)
