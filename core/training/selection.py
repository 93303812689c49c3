"""Which epoch becomes the model."""

import math

STANDARD_ERRORS = 1.0


def is_as_good(accuracy: float, top: float, *, num_samples: int) -> bool:
    """Whether validation cannot tell an accuracy from the highest: within one standard error, √(p (1 − p) / n).

    Of the epochs for which this holds the last is taken, since it has learnt the longest and at the lowest rate: the
    highest of many accuracies on a hundred pictures is luck. The rule is that of Breiman et al., "Classification and
    Regression Trees" (1984), which takes the simplest tree within one standard error.
    """
    return accuracy >= top - STANDARD_ERRORS * math.sqrt(top * (1 - top) / num_samples)
