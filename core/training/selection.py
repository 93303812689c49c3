"""Which epoch becomes the model."""

import math
from typing import NamedTuple

STANDARD_ERRORS = 1.0


class Judgement(NamedTuple):
    """Of an epoch, by its validation accuracy."""

    is_taken: bool  # it would be exported if it were the last
    has_gained: bool  # it is better than all before
    highest: float  # with it


def judge(accuracy: float, highest: float | None, *, num_samples: int) -> Judgement:
    """An epoch is taken when validation cannot tell it from the best: within one standard error, √(p (1 − p) / n).

    The last that is taken is exported, since it has learnt the longest and at the lowest rate: the highest of many
    accuracies on a hundred pictures is luck. The rule is that of Breiman et al., "Classification and Regression Trees"
    (1984), who take the simplest tree within one standard error.

    highest: accuracy of all epochs before, None at the first; num_samples: that validate.
    """
    top = accuracy if highest is None else max(accuracy, highest)
    allowed = top - STANDARD_ERRORS * math.sqrt(top * (1 - top) / num_samples)
    return Judgement(is_taken=accuracy >= allowed, has_gained=highest is None or accuracy > highest, highest=top)
