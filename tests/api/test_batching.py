import asyncio
import threading
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from api.batching import Batcher
from core.inference.predicted import Predicted
from core.inference.predictor import Predictor

Pixels = NDArray[np.uint8]


class Network:
    """Answers with the first value of each picture; remembers its batches; holds them until it is let go."""

    def __init__(self, *, batches: list[list[int]] | None = None, expected_batches: int = 0) -> None:
        self.batches = [] if batches is None else batches
        self.computed_all = threading.Event()
        self._expected_batches = expected_batches
        self.cores: list[int] = []
        self.release = threading.Event()
        self.release.set()

    def predict(self, pixels: Pixels) -> Predicted:
        values = pixels[:, 0, 0, 0].tolist()
        self.batches.append(values)
        self.cores.append(torch.get_num_threads())
        if len(self.batches) == self._expected_batches:
            self.computed_all.set()
        assert self.release.wait(10)
        if 255 in values:
            raise ValueError("no picture")
        return Predicted(pixels[:, 0, 0, :1].astype(np.float32), unknown_scores=None)


def picture(value: int) -> Pixels:
    return np.full((2, 2, 3), value, dtype=np.uint8)


async def ask(batcher: Batcher, network: Network, *values: int) -> list[float]:
    rows = await batcher.predict(cast(Predictor, network), [picture(value) for value in values])
    return [float(row.probabilities[0]) for row in rows]


async def begin(batcher: Batcher, network: Network, *values: int) -> "asyncio.Task[list[float]]":
    before = len(network.batches)
    task = asyncio.create_task(ask(batcher, network, *values))
    while len(network.batches) == before:
        await asyncio.sleep(0.01)  # until its batch is at work
    return task


def test_requests_that_come_while_one_is_computed_share_the_next_batch() -> None:
    async def run() -> list[list[float]]:
        batcher, network = Batcher(max_batch=4, num_threads=1), slow
        first = await begin(batcher, network, 1)
        others = [asyncio.create_task(ask(batcher, network, value, value + 10)) for value in (2, 3, 4)]
        await asyncio.sleep(0)
        network.release.set()
        answers = [await task for task in (first, *others)]
        batcher.close()
        return answers

    slow = Network()
    slow.release.clear()
    assert asyncio.run(run()) == [[1], [2, 12], [3, 13], [4, 14]]
    assert slow.batches == [[1], [2, 12, 3, 13], [4, 14]]


def test_pictures_of_whom_is_gone_are_not_computed() -> None:
    async def run() -> None:
        batcher = Batcher(max_batch=4, num_threads=1)
        first = await begin(batcher, slow, 1)
        gone, kept = (asyncio.create_task(ask(batcher, slow, value)) for value in (2, 3))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait({gone})
        slow.release.set()
        await asyncio.gather(first, kept)
        batcher.close()

    slow = Network()
    slow.release.clear()
    asyncio.run(run())
    assert slow.batches == [[1], [3]]


def test_models_take_turns() -> None:
    async def run() -> None:
        batcher = Batcher(max_batch=1, num_threads=1)
        first = await begin(batcher, slow, 1)
        rest = [asyncio.create_task(ask(batcher, slow, 2, 3)), asyncio.create_task(ask(batcher, other, 7))]
        await asyncio.sleep(0)
        slow.release.set()
        await asyncio.gather(first, *rest)
        batcher.close()

    slow = Network()
    other = Network(batches=slow.batches)
    slow.release.clear()
    asyncio.run(run())
    assert slow.batches == [[1], [2], [7], [3]]


def test_error_is_told_to_its_batch_alone() -> None:
    async def run() -> list[float]:
        batcher, network = Batcher(max_batch=1, num_threads=1), Network()
        with pytest.raises(ValueError, match="no picture"):
            await ask(batcher, network, 255)
        answer = await ask(batcher, network, 1)
        batcher.close()
        return answer

    assert asyncio.run(run()) == [1]


def test_what_waits_is_shared_out_among_idle_threads() -> None:
    async def run() -> None:
        batcher = Batcher(max_batch=4, num_threads=2)
        await ask(batcher, network, 1, 2, 3, 4)
        batcher.close()

    network = Network()
    asyncio.run(run())
    assert sorted(network.batches) == [[1, 2], [3, 4]]


def test_of_a_request_that_failed_nothing_more_is_computed() -> None:
    async def run() -> None:
        batcher = Batcher(max_batch=1, num_threads=1)
        with pytest.raises(ValueError, match="no picture"):
            await ask(batcher, network, 255, 1, 2)
        await ask(batcher, network, 7)
        batcher.close()

    network = Network()
    asyncio.run(run())
    assert network.batches == [[255], [7]]


def test_next_batch_does_not_wait_for_a_busy_loop() -> None:
    async def run() -> None:
        batcher = Batcher(max_batch=1, num_threads=1)
        asked = asyncio.create_task(ask(batcher, network, 1, 2))
        await asyncio.sleep(0)
        assert network.computed_all.wait(10)  # what blocks the loop
        await asked
        batcher.close()

    network = Network(expected_batches=2)
    asyncio.run(run())
    assert network.batches == [[1], [2]]


def test_batch_that_is_alone_has_all_idle_cores() -> None:
    async def run(*values: int) -> list[int]:
        batcher, network = Batcher(max_batch=4, num_threads=2, count_idle_cores=lambda: 2), Network()
        await ask(batcher, network, *values)
        batcher.close()
        return network.cores

    assert asyncio.run(run(1)) == [2]
    assert asyncio.run(run(1, 2)) == [1, 1]


def test_batch_beside_another_has_its_own_core() -> None:
    async def run() -> None:
        batcher = Batcher(max_batch=4, num_threads=2, count_idle_cores=lambda: 2)
        first = await begin(batcher, slow, 1)
        second = await begin(batcher, slow, 2)
        slow.release.set()
        await asyncio.gather(first, second)
        await ask(batcher, slow, 3)
        batcher.close()

    slow = Network()
    slow.release.clear()
    asyncio.run(run())
    assert slow.cores == [2, 1, 2]


def test_batches_with_several_cores_each_get_no_more() -> None:
    async def run() -> list[int]:
        batcher, network = Batcher(max_batch=4, num_threads=1, cores_a_batch=2, count_idle_cores=lambda: 4), Network()
        await ask(batcher, network, 1)
        batcher.close()
        return network.cores

    assert asyncio.run(run()) == [2]


@pytest.mark.parametrize(("idle", "used"), [(1, 1), (3, 2), (4, 4), (7, 4), (64, 8)])
def test_idle_cores_are_used_in_powers_of_two(idle: int, used: int) -> None:
    async def run() -> list[int]:
        batcher, network = Batcher(max_batch=4, num_threads=2, count_idle_cores=lambda: idle), Network()
        await ask(batcher, network, 1)
        batcher.close()
        return network.cores

    assert asyncio.run(run()) == [used]
