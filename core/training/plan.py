"""How many steps there will be."""

from dataclasses import dataclass

from core.resolution import count_steps_per_epoch
from core.specs import ResolvedSpec


@dataclass(frozen=True)
class Plan:
    epochs: int
    steps_per_epoch: int
    batch_size: int

    @classmethod
    def make(cls, spec: ResolvedSpec, *, train_samples: int) -> "Plan":
        training = spec.training
        return cls(
            epochs=training.epochs,
            steps_per_epoch=count_steps_per_epoch(train_samples, training.batch_size),
            batch_size=min(training.batch_size, train_samples),
        )

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    def epoch_of(self, step: int) -> int:
        """The epoch that the latest of `step` steps belongs to, from 1 on; 0 before the first."""
        return -(-step // self.steps_per_epoch)
