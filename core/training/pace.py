"""How fast training goes, and how long it will still take."""

import time

MEMORY_STEPS = 50  # the rate follows about as many steps, so that a slow start is forgotten


class Pace:
    """Measures training steps and evaluated pictures apart, so that the estimate knows of both."""

    def __init__(self) -> None:
        self._steps = 0
        self._step_seconds = 0.0
        self._evaluated = 0
        self._evaluation_seconds = 0.0
        self._mark = time.monotonic()

    def restart(self) -> None:
        """Forgets the time since the last count: it went elsewhere."""
        self._mark = time.monotonic()

    def count_step(self) -> None:
        self._steps += 1
        weight = max(1 / self._steps, 1 / MEMORY_STEPS)
        self._step_seconds += weight * (self._lap() - self._step_seconds)

    def count_evaluation(self, num_samples: int) -> None:
        self._evaluated += num_samples
        self._evaluation_seconds += self._lap()

    def images_per_second(self, batch_size: int) -> float | None:
        return round(batch_size / self._step_seconds, 2) if self._step_seconds else None

    def eta_seconds(self, *, steps: int, evaluations: int) -> float | None:
        """For as many training steps and evaluated pictures."""
        if not self._steps:
            return None
        per_evaluation = self._evaluation_seconds / self._evaluated if self._evaluated else 0.0
        return round(steps * self._step_seconds + evaluations * per_evaluation, 1)

    def _lap(self) -> float:
        now = time.monotonic()
        seconds, self._mark = now - self._mark, now
        return seconds
