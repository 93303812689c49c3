"""Few of many."""

import numpy as np
from numpy.typing import NDArray


def spread(count: int, at_most: int) -> NDArray[np.int64]:
    """Places among `count`, evenly apart, the first and the last with them: all of them where they are few."""
    return np.linspace(0, count - 1, min(at_most, count)).round().astype(np.int64)
