"""How fast training goes, and how long it will still take."""

import time

MEMORY_STEPS = 50  # the rate follows about as many steps, so that a slow start is forgotten


class Pace:
    """Measures training steps and validated pictures apart, so that the estimate knows of both."""

    def __init__(self) -> None:
        self._steps = 0
        self._steps_seconds = 0.0
        self._step_seconds = 0.0  # of late
        self._pictures = 0
        self._pictures_seconds = 0.0
        self._mark = time.monotonic()

    def restart(self) -> None:
        """Forgets the time since the last count: it went elsewhere."""
        self._mark = time.monotonic()

    def count_step(self) -> None:
        seconds = self._lap()
        self._steps += 1
        self._steps_seconds += seconds
        self._step_seconds += max(1 / self._steps, 1 / MEMORY_STEPS) * (seconds - self._step_seconds)

    def count_evaluation(self, num_pictures: int) -> None:
        self._pictures += num_pictures
        self._pictures_seconds += self._lap()

    @property
    def seconds_per_step(self) -> float | None:
        """The mean over all steps."""
        return self._steps_seconds / self._steps if self._steps else None

    @property
    def seconds_per_picture(self) -> float:
        """The mean over all that were validated; 0 before the first."""
        return self._pictures_seconds / self._pictures if self._pictures else 0.0

    @property
    def counted_seconds(self) -> float:
        return self._steps_seconds + self._pictures_seconds

    def images_per_second(self, batch_size: int) -> float | None:
        return round(batch_size / self._step_seconds, 2) if self._step_seconds else None

    def eta_seconds(self, *, steps: int, pictures: int) -> float | None:
        """For as many training steps and validated pictures, at the rate of late."""
        if not self._steps:
            return None
        return round(steps * self._step_seconds + pictures * self.seconds_per_picture, 1)

    def _lap(self) -> float:
        now = time.monotonic()
        seconds, self._mark = now - self._mark, now
        return seconds
