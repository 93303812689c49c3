"""The training loop: data, forward, backward, step, record."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from core.inference.normalize import Normalizer
from core.inference.preprocessing import make_preprocessing
from core.specs import EncoderName
from core.trainer_protocol import Task
from core.training.batches import TrainBatches
from core.training.checkpoint import BestEpoch, Counters, State, restore
from core.training.checkpoint_writer import CheckpointWriter
from core.training.data import SplitSamples
from core.training.errors import DivergedError, InterruptedTraining
from core.training.evaluation import Tally, evaluate
from core.training.journal import Journal
from core.training.memory import is_out_of_memory
from core.training.methods.base import Batch, Method
from core.training.optim import build_optimizer, set_learning_rate
from core.training.plan import Plan
from core.training.ranks import Ranks
from core.training.selection import judge

RECORD_EVERY_STEPS = 10
DIVERGED_FACTOR = 100  # of the loss of a guess, log C

Result = TypeVar("Result")
Losses = dict[str, float]


class Trainer:
    """One run of one method on one set of samples."""

    def __init__(
        self,
        task: Task,
        method: Method,
        samples: SplitSamples,
        plan: Plan,
        journal: Journal,
        state: State,
        writer: CheckpointWriter,
        ranks: Ranks,
        *,
        should_stop: Callable[[], bool],
    ) -> None:
        preprocessing = make_preprocessing(task.backbone, task.spec.training.image_size)
        self._spec = task.spec.training
        self._device = torch.device(task.device)
        self._method = method.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self._samples = samples
        self._plan = plan
        self._journal = journal
        self._state = state
        self._writer = writer
        self._ranks = ranks
        self._should_stop = should_stop
        self._optimizer = build_optimizer(method, self._spec)
        self._averaged = method.moving_statistics
        self._normalize = Normalizer(preprocessing, self._device)
        self._batches = TrainBatches(
            samples.train, task.spec, preprocessing, ranks, num_views=method.num_views, device=self._device
        )

    def restore(self, directory: Path) -> None:
        restore(directory, self._method, self._optimizer)

    def run(self) -> None:
        """To the last epoch or an early stop; raises InterruptedTraining after a checkpoint."""
        try:
            self._fit()
        except InterruptedTraining:
            self._writer.save(self._state, (self._method, self._optimizer))
            raise

    def _fit(self) -> None:
        self._method.train()
        self._journal.start(self._counters, self._method.notes)
        self._validate_if_due()  # where a stop came between the last step of an epoch and its validation
        while not self._is_done():
            self._check_stop()
            self._train_step()
            self._validate_if_due()
            self._writer.save_if_due(self._state, self._method, self._optimizer)
        if self._is_stale():
            self._journal.say_early_stop(self._counters)

    def _train_step(self) -> None:
        step = self._counters.step
        batch = self._batches.read(*divmod(step, self._plan.steps_per_epoch))
        self._method.begin_step(step)
        self._fit_memory(lambda size: self._encode_keys(batch, size))
        self._method.enqueue_keys(batch.labels, self._ranks)
        losses = self._fit_memory(lambda size: self._accumulate_gradients(batch, size))
        self._ranks.average([*self._gradients(), *losses.values(), *self._averaged])
        set_learning_rate(self._optimizer, self._spec, step=step, total_steps=self._plan.total_steps)
        self._optimizer.step()
        self._record_step(step + 1, losses)

    def _encode_keys(self, batch: Batch, micro_batch_size: int) -> None:
        with self._autocast():
            self._method.encode_keys(batch, micro_batch_size)

    def _accumulate_gradients(self, batch: Batch, micro_batch_size: int) -> dict[str, Tensor]:
        """Gradients and losses of the batch, as means over its samples, a micro-batch at a time."""
        self._optimizer.zero_grad(set_to_none=True)
        means: dict[str, Tensor] = {}
        for part in batch.split(micro_batch_size):
            share = (part.stop - part.start) / len(batch.labels)
            with self._autocast():
                losses = self._method.compute_losses(batch, part)
            (losses["loss"] * share).backward()
            means = {name: means.get(name, 0) + loss.detach() * share for name, loss in losses.items()}
        return means

    def _autocast(self) -> torch.autocast:
        asked = self._spec.precision
        is_reduced = asked == "bf16" or (asked == "auto" and self._device.type == "cuda")
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=is_reduced)

    def _gradients(self) -> list[Tensor]:
        """In the optimizer's order; every rank has the same."""
        parameters = [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
        return [parameter.grad for parameter in parameters if parameter.grad is not None]

    def _fit_memory(self, action: Callable[[int], Result]) -> Result:
        """Halves the micro-batch whenever memory runs out on any rank; raises what it was at a single sample."""
        while True:
            size = self._counters.micro_batch_size or self._spec.micro_batch_size or self._batches.size
            result, shortage = self._try(action, size)
            if not self._ranks.any(shortage is not None, self._device) and result is not None:
                return result[0]
            if size == 1:
                raise shortage or torch.OutOfMemoryError("another GPU of this job is out of memory")
            self._state.update(micro_batch_size=max(1, min(size, self._batches.size) // 2))
            self._journal.say_smaller_micro_batch(self._counters)
            torch.cuda.empty_cache()

    @staticmethod
    def _try(action: Callable[[int], Result], size: int) -> tuple[tuple[Result] | None, Exception | None]:
        try:
            return (action(size),), None
        except (MemoryError, RuntimeError) as exc:
            if not is_out_of_memory(exc):
                raise
            return None, exc.with_traceback(None)  # the frames hold what must be freed

    def _record_step(self, step: int, losses: dict[str, Tensor]) -> None:
        """Every tenth step says the mean since the epoch began; so does the epoch's end."""
        values = torch.stack([loss.double() for loss in losses.values()]).tolist()  # one wait for the device
        if not all(math.isfinite(value) for value in values):
            raise DivergedError(f"the loss became {values[0]} at step {step}")
        sums = {
            name: self._counters.epoch_sums.get(name, 0.0) + value for name, value in zip(losses, values, strict=True)
        }
        self._state.update(step=step, epoch_sums=sums)
        self._journal.count_step(self._counters)
        if step % RECORD_EVERY_STEPS == 0:
            self._journal.say_metrics(self._counters, self._average_losses())

    def _average_losses(self) -> Losses:
        count = self._counters.step - self._counters.epochs_validated * self._plan.steps_per_epoch
        means = {name: value / count for name, value in self._counters.epoch_sums.items()}
        return {"train_loss" if name == "loss" else name: value for name, value in means.items()}

    def _validate_if_due(self) -> None:
        """Validates after the last step of an epoch, keeps what to export, counts how long nothing was better."""
        if self._counters.step != (self._counters.epochs_validated + 1) * self._plan.steps_per_epoch:
            return
        self._method.eval()
        tallies = {
            encoder: evaluate(
                classifier, self._samples.val, self._normalize, self._ranks, on_batch=self._attend_evaluation
            )
            for encoder, classifier in self._method.candidates.items()
        }
        self._method.train()
        self._check_divergence(tallies["query"])
        self._journal.count_validation()
        self._take_validation(tallies)
        self._journal.say_epoch(self._counters)

    def _check_divergence(self, tally: Tally) -> None:
        """By the cross-entropy: the weights of other losses may be any."""
        losses = self._average_losses()
        cross_entropy = losses.get("loss_ce", losses["train_loss"])
        guess = math.log(self._method.classifier.head.out_features)
        heaviest = max([1.0, *(self._spec.class_weights or {}).values()])
        if not math.isfinite(tally.loss) or cross_entropy > DIVERGED_FACTOR * heaviest * (1 + guess):
            raise DivergedError(
                f"after step {self._counters.step} the cross-entropy is {cross_entropy:.3g} in training "
                f"and {tally.loss:.3g} in validation"
            )

    def _take_validation(self, tallies: dict[EncoderName, Tally]) -> None:
        epoch, best = self._counters.epochs_validated + 1, self._counters.best
        encoder = max(tallies, key=lambda name: (tallies[name].accuracy, -tallies[name].loss))
        better = tallies[encoder]
        judgement = judge(better.accuracy, self._counters.highest_accuracy, num_samples=better.num_samples)
        if judgement.is_taken:
            best = BestEpoch(epoch=epoch, encoder=encoder, accuracy=better.accuracy, loss=better.loss)
            weights = self._method.candidates[encoder].state_dict()
            self._state.best_weights = {name: value.detach().clone() for name, value in weights.items()}
        self._state.update(
            best=best,
            top_accuracy=judgement.highest,
            epochs_without_gain=0 if judgement.has_gained else self._counters.epochs_without_gain + 1,
            metrics=self._average_losses() | _describe(tallies, better),
            epochs_validated=epoch,
            epoch_sums={},
        )

    def _is_done(self) -> bool:
        return self._counters.step >= self._plan.total_steps or self._is_stale()

    def _is_stale(self) -> bool:
        stopping = self._spec.early_stopping
        return stopping is not None and self._counters.epochs_without_gain >= stopping.patience

    def _attend_evaluation(self) -> None:
        self._check_stop()
        self._journal.say_progress("evaluating", self._counters)

    def _check_stop(self) -> None:
        if self._ranks.any(self._should_stop(), self._device):
            raise InterruptedTraining

    @property
    def _counters(self) -> Counters:
        return self._state.counters


def _describe(tallies: dict[EncoderName, Tally], better: Tally) -> Losses:
    """The better of the encoders, and each by name where there are several."""
    values = {"val_loss": better.loss, "val_accuracy": better.accuracy}
    if len(tallies) > 1:
        values |= {f"val_accuracy_{encoder}": tally.accuracy for encoder, tally in tallies.items()}
    return values
