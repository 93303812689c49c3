"""The training loop: data, forward, backward, step, record."""

import math
import time
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from core.inference.classifier import Classifier
from core.inference.model_card import Evaluation
from core.inference.normalize import Normalizer
from core.specs import count_steps_per_epoch
from core.trainer_protocol import CheckpointSaved, Finished, Metrics, Note, Progress, TrainerJob
from core.training.artifact import write_artifact
from core.training.checkpoint import FILES, Counters, State, load_checkpoint, save_checkpoint
from core.training.data import SplitSamples, TrainBatches, make_preprocessing
from core.training.errors import DivergedError, InterruptedTraining
from core.training.evaluation import Tally, evaluate
from core.training.methods.base import Method
from core.training.optim import build_optimizer, set_learning_rate
from core.training.pace import Pace
from core.training.recorder import Recorder

RECORD_EVERY_STEPS = 10


class Trainer:
    """One run of one method on one set of samples."""

    def __init__(
        self,
        job: TrainerJob,
        method: Method,
        samples: SplitSamples,
        recorder: Recorder,
        *,
        should_stop: Callable[[], bool],
    ) -> None:
        training = job.spec.training
        self._job = job
        self._device = torch.device(job.device)
        self._method = method.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
        self._samples = samples
        self._recorder = recorder
        self._should_stop = should_stop
        self._optimizer = build_optimizer(method, learning_rate=training.learning_rate)
        self._steps_per_epoch = count_steps_per_epoch(len(samples.train), training.batch_size)
        self._total_steps = training.epochs * self._steps_per_epoch
        self._normalize = Normalizer(mean=job.backbone.mean, std=job.backbone.std, device=self._device)
        self._batches = TrainBatches(
            samples.train,
            batch_size=training.batch_size,
            num_views=method.num_views,
            augmentation=training.augmentation,
            preprocessing=make_preprocessing(job),
            seed=job.spec.seed,
            device=self._device,
        )
        self._state = State(counters=Counters(), best={})
        self._pace = Pace(
            total_steps=self._total_steps, steps_per_epoch=self._steps_per_epoch, batch_size=training.batch_size
        )
        self._saved_at = time.monotonic()

    def run(self) -> None:
        """Trains from where the checkpoint stands, or from the start, and writes the artifact."""
        if self._job.resume_dir is not None:
            self._state = load_checkpoint(self._job.resume_dir, self._method, self._optimizer, self._device)
        self._method.train()
        self._pace.resume()
        while self._counters.step < self._total_steps and not self._is_stale():
            self._train_step()
            if self._counters.step % self._steps_per_epoch == 0:
                self._end_epoch()
            self._obey()
        self._finish()

    @property
    def _counters(self) -> Counters:
        return self._state.counters

    def _train_step(self) -> None:
        step = self._counters.step
        epoch, number = divmod(step, self._steps_per_epoch)
        views, labels = self._batches.read(epoch, number)
        set_learning_rate(
            self._optimizer, base=self._job.spec.training.learning_rate, step=step, total_steps=self._total_steps
        )
        losses = self._method.compute_losses(views, labels)
        self._optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        self._optimizer.step()
        self._record_step(step + 1, losses)

    def _record_step(self, step: int, losses: dict[str, Tensor]) -> None:
        values = {name: float(loss.detach()) for name, loss in losses.items()}
        if not math.isfinite(values["loss"]):
            raise DivergedError(f"the loss became {values['loss']} at step {step}")
        sums = {name: self._counters.epoch_sums.get(name, 0.0) + value for name, value in values.items()}
        self._update(step=step, epoch_sums=sums)
        self._pace.count_step()
        self._say_progress("training")
        if step % RECORD_EVERY_STEPS == 0:
            self._say_metrics({f"train_{name}": value for name, value in values.items()})

    def _end_epoch(self) -> None:
        """Validates, keeps the best, counts how long nothing was better."""
        self._say_progress("evaluating")
        tally = evaluate(self._method.classifier, self._samples.val, self._normalize, self._device)
        self._pace.count_evaluation()
        epoch = self._counters.step // self._steps_per_epoch
        means = {f"epoch_{name}": value / self._steps_per_epoch for name, value in self._counters.epoch_sums.items()}
        metrics = means | {"val_loss": tally.loss, "val_accuracy": tally.accuracy}
        if self._is_better(tally):
            self._state.best = _copy_weights(self._method.classifier)
            self._update(best_accuracy=tally.accuracy, best_loss=tally.loss, best_epoch=epoch, stale_epochs=0)
        else:
            self._update(stale_epochs=self._counters.stale_epochs + 1)
        self._update(epoch_sums={}, metrics=metrics)
        self._say_metrics(metrics)

    def _is_better(self, tally: Tally) -> bool:
        best = self._counters
        return (tally.accuracy, -tally.loss) > (best.best_accuracy, -best.best_loss)

    def _is_stale(self) -> bool:
        stopping = self._job.spec.training.early_stopping
        return stopping is not None and self._counters.stale_epochs >= stopping.patience

    def _obey(self) -> None:
        """Writes a checkpoint when it is time for one, or when somebody asked to stop."""
        asked = self._should_stop()
        if asked or time.monotonic() - self._saved_at >= self._job.checkpoint_interval_seconds:
            self._save_checkpoint()
        if asked:
            raise InterruptedTraining

    def _save_checkpoint(self) -> None:
        counters = self._counters
        directory = self._job.output_dir / "checkpoints" / str(counters.step)
        if not directory.exists():
            save_checkpoint(directory, self._method, self._optimizer, self._state)
        self._saved_at = time.monotonic()
        epoch = counters.step // self._steps_per_epoch
        self._recorder.say(
            CheckpointSaved(
                step=counters.step,
                epoch=epoch,
                directory=directory,
                files=FILES,
                metrics=counters.metrics,
                is_best=counters.best_epoch == epoch > 0,
            )
        )

    def _finish(self) -> None:
        counters = self._counters
        if self._is_stale():
            self._say_early_stop()
        classifier = self._method.classifier
        classifier.load_state_dict(self._state.best)
        split = self._samples.test if len(self._samples.test) else self._samples.val
        tally = evaluate(classifier, split, self._normalize, self._device)
        evaluation = Evaluation(
            split="test" if len(self._samples.test) else "val",
            num_samples=tally.count,
            accuracy=tally.accuracy,
            loss=tally.loss,
            confusion=tally.confusion,
        )
        metrics = {
            "val_accuracy": counters.best_accuracy,
            "val_loss": counters.best_loss,
            "best_epoch": float(counters.best_epoch),
            f"{evaluation.split}_accuracy": tally.accuracy,
        }
        directory = self._job.output_dir / "artifact"
        write_artifact(directory, self._job, self._state.best, metrics=metrics, evaluation=evaluation)
        self._recorder.say(Finished(directory=directory, metrics=metrics))

    def _say_early_stop(self) -> None:
        counters = self._counters
        self._recorder.say(
            Note(
                level="info",
                code="stopped_early",
                message=f"no better validation accuracy for {counters.stale_epochs} epochs",
                details={"best_epoch": counters.best_epoch, "best_accuracy": counters.best_accuracy},
            )
        )

    def _say_metrics(self, values: dict[str, float]) -> None:
        step = self._counters.step
        self._recorder.say(Metrics(step=step, epoch=math.ceil(step / self._steps_per_epoch), values=values))

    def _say_progress(self, stage: Literal["training", "evaluating"]) -> None:
        step = self._counters.step
        self._recorder.say_progress(
            Progress(
                stage=stage,
                step=step,
                total_steps=self._total_steps,
                epoch=math.ceil(step / self._steps_per_epoch),
                total_epochs=self._job.spec.training.epochs,
                images_per_second=self._pace.images_per_second,
                eta_seconds=self._pace.eta_seconds(step),
            )
        )

    def _update(self, **changes: int | float | dict[str, float]) -> None:
        self._state.counters = self._counters.model_copy(update=changes)


def _copy_weights(classifier: Classifier) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in classifier.state_dict().items()}
