import pytest
import torch
from torch import Tensor

from core.training.methods.key_queue import KeyQueue
from tests.core.training.twins import TwinQueue


def make_keys(*values: float) -> Tensor:
    return torch.tensor(values).unsqueeze(1)


def read(queue: KeyQueue, label: int) -> list[float]:
    return queue.keys[label, queue.valid[label]].squeeze(1).tolist()


def test_keys_go_to_their_class_in_order() -> None:
    queue = KeyQueue(num_classes=2, queue_size=3, width=1)

    queue.enqueue(make_keys(1, 2, 3), torch.tensor([1, 0, 1]))

    assert (read(queue, 0), read(queue, 1)) == ([2], [1, 3])


def test_oldest_key_is_overwritten_first() -> None:
    queue = KeyQueue(num_classes=1, queue_size=3, width=1)

    for value in (1, 2, 3, 4):
        queue.enqueue(make_keys(value), torch.tensor([0]))

    assert read(queue, 0) == [4, 2, 3]


def test_last_keys_stay_of_more_than_fit() -> None:
    queue = KeyQueue(num_classes=2, queue_size=2, width=1)

    queue.enqueue(make_keys(1, 2, 9, 3, 4, 5), torch.tensor([0, 0, 1, 0, 0, 0]))

    assert sorted(read(queue, 0)) == [4, 5]
    assert read(queue, 1) == [9]


def test_class_without_keys_has_no_valid_slot() -> None:
    queue = KeyQueue(num_classes=3, queue_size=2, width=1)

    queue.enqueue(make_keys(1, 2), torch.tensor([0, 2]))

    assert not queue.valid[1].any()


@pytest.mark.parametrize("seed", range(5))
def test_batches_equal_the_twin_that_takes_one_at_a_time(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    queue, twin = KeyQueue(num_classes=4, queue_size=3, width=2), TwinQueue(4, 3)

    for batch_size in (1, 7, 20, 5):
        keys = torch.randn(batch_size, 2, generator=generator)
        labels = torch.randint(4, (batch_size,), generator=generator)
        queue.enqueue(keys, labels)
        twin.enqueue(keys, labels.tolist())

    for label, slots in enumerate(twin.slots):
        assert [slot is not None for slot in slots] == queue.valid[label].tolist()
        assert all(torch.equal(queue.keys[label, i], slot) for i, slot in enumerate(slots) if slot is not None)
    assert queue.pointers.tolist() == twin.pointers


def test_state_dict_holds_all_of_it() -> None:
    queue, copy = (KeyQueue(num_classes=2, queue_size=2, width=1) for _ in range(2))
    queue.enqueue(make_keys(1, 2, 3), torch.tensor([0, 0, 0]))

    copy.load_state_dict(queue.state_dict())
    for each in (queue, copy):
        each.enqueue(make_keys(7), torch.tensor([0]))

    assert read(queue, 0) == read(copy, 0) == [3, 7]
