from collections.abc import Iterator

import pytest
import torch

from core.inference.compute_threads import computing_on


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
