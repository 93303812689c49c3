"""How many cores compute what one thread asks of torch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def use_cores(count: int) -> None:
    """By the thread that calls, whatever others use.

    The first call to torch in a thread takes the number that was set last in the process, so it comes before.
    """
    torch.get_num_threads()
    torch.set_num_threads(count)


@contextmanager
def computing_on(num_cores: int) -> Iterator[None]:
    """For the block and the thread that enters it, at least as many as it has otherwise.

    Set back, because a thread that is new to torch takes the number that was set last in the process.
    """
    before = torch.get_num_threads()
    if num_cores <= before:
        yield
        return
    torch.set_num_threads(num_cores)
    try:
        yield
    finally:
        torch.set_num_threads(before)
