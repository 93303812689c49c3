from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from core.inference.compute_threads import computing_on, use_cores


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_more_cores_are_for_the_block_alone() -> None:
    with computing_on(2):
        inside = torch.get_num_threads()

    assert (inside, torch.get_num_threads()) == (2, 1)


def test_error_sets_the_number_back() -> None:
    with pytest.raises(ValueError, match="no picture"), computing_on(2):
        raise ValueError("no picture")

    assert torch.get_num_threads() == 1


def test_nobody_gets_fewer_than_before() -> None:
    torch.set_num_threads(2)

    with computing_on(1):
        assert torch.get_num_threads() == 2


def test_threads_keep_their_own_numbers() -> None:
    """Also one that is new to torch while another computes on more."""
    with ThreadPoolExecutor(1, initializer=use_cores, initargs=(1,)) as threads:
        with computing_on(2):
            number = threads.submit(torch.get_num_threads).result()
        assert (number, torch.get_num_threads()) == (1, 1)
