"""How fast training goes, and how long it will still take."""

import time


class Pace:
    """Measures steps and evaluations apart, so that the estimate knows of both."""

    def __init__(self, *, total_steps: int, steps_per_epoch: int, batch_size: int) -> None:
        self._total_steps = total_steps
        self._steps_per_epoch = steps_per_epoch
        self._batch_size = batch_size
        self._steps = 0
        self._step_seconds = 0.0
        self._evaluations = 0
        self._evaluation_seconds = 0.0
        self._mark = time.monotonic()

    def resume(self) -> None:
        """Forgets the time that went elsewhere."""
        self._mark = time.monotonic()

    def count_step(self) -> None:
        self._step_seconds += self._lap()
        self._steps += 1

    def count_evaluation(self) -> None:
        self._evaluation_seconds += self._lap()
        self._evaluations += 1

    @property
    def images_per_second(self) -> float | None:
        return round(self._batch_size * self._steps / self._step_seconds, 2) if self._step_seconds else None

    def eta_seconds(self, step: int) -> float | None:
        if not self._steps:
            return None
        evaluations_left = self._total_steps // self._steps_per_epoch - step // self._steps_per_epoch
        evaluation = self._evaluation_seconds / self._evaluations if self._evaluations else 0.0
        return round((self._total_steps - step) * self._step_seconds / self._steps + evaluations_left * evaluation, 1)

    def _lap(self) -> float:
        now = time.monotonic()
        seconds, self._mark = now - self._mark, now
        return seconds
