"""How many cores compute what a thread of this process asks torch for."""

import torch


def use_cores(count: int) -> None:
    """For the thread that calls: its own number, whatever others have.

    The first call to torch in a thread takes the number that was set last in the process, so it comes before.
    """
    torch.get_num_threads()
    torch.set_num_threads(count)
