import asyncio
import gc
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import cast
from weakref import WeakSet

import numpy as np
import pytest
from numpy.typing import NDArray

from api.batching import Batcher
from api.model_cache import MAX_FAULTS, SIMULTANEOUS_LOADS, LoadedModel, ModelCache
from api.model_loading import FoundModel
from core.errors import ConflictError, NotFoundError, OverloadedError
from core.inference.model_card import ModelCard
from core.inference.predicted import Predicted
from core.inference.predictor import Predictor

SIZE = 100


@dataclass(eq=False)
class Sized:
    """What the cache looks at of a predictor."""

    size_bytes: int = SIZE


class Loader:
    """Counts its loads; holds them until it is let go."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.release = threading.Event()
        self.release.set()

    def find(self, model_id: str) -> FoundModel:
        if model_id == "unknown":
            raise NotFoundError("model_not_found", "there is no such model")
        return FoundModel(model_id, "a" * 64, SIZE, cast(ModelCard, None))

    def load(self, found: FoundModel) -> Predictor:
        self.calls.append(found.id)
        assert self.release.wait(10)
        if found.id == "missing":
            raise NotFoundError("object_not_found", "there are no such weights")
        return cast(Predictor, Sized())


@pytest.fixture
def loader() -> Loader:
    return Loader()


def make_cache(loader: Loader, *, room_for: int = 2, failure_seconds: float = 10.0) -> ModelCache:
    return ModelCache(
        capacity_bytes=room_for * SIZE,
        loader=loader,
        batcher=Batcher(max_batch=1, num_threads=1),
        failure_seconds=failure_seconds,
    )


async def use(cache: ModelCache, model_id: str) -> None:
    async with cache.use(model_id):
        pass


def test_hundred_cold_requests_load_once(loader: Loader) -> None:
    async def ask() -> None:
        cache = make_cache(loader)
        await asyncio.gather(*(use(cache, "a") for _ in range(100)))
        cache.close()

    asyncio.run(ask())
    assert loader.calls == ["a"]


def test_least_recently_used_goes_first(loader: Loader) -> None:
    async def ask() -> None:
        cache = make_cache(loader)
        for model_id in ("a", "b", "a", "c", "a", "b"):
            await use(cache, model_id)
        cache.close()

    asyncio.run(ask())
    assert loader.calls == ["a", "b", "c", "b"]


def test_failed_load_is_told_to_all_and_not_tried_again_at_once(loader: Loader) -> None:
    async def ask() -> None:
        cache = make_cache(loader)
        outcomes = await asyncio.gather(*(use(cache, "missing") for _ in range(5)), return_exceptions=True)
        assert all(isinstance(outcome, NotFoundError) for outcome in outcomes)
        with pytest.raises(NotFoundError):
            await use(cache, "missing")
        cache.close()

    asyncio.run(ask())
    assert loader.calls == ["missing"]


def test_failed_load_is_tried_again_later(loader: Loader) -> None:
    async def ask() -> None:
        cache = make_cache(loader, failure_seconds=0.01)
        for _ in range(2):
            with pytest.raises(NotFoundError):
                await use(cache, "missing")
            await asyncio.sleep(0.05)  # until it is tried again
        cache.close()

    asyncio.run(ask())
    assert loader.calls == ["missing", "missing"]


def test_model_in_use_is_never_evicted_and_want_of_room_is_no_failure(loader: Loader) -> None:
    async def ask() -> None:
        cache = make_cache(loader, room_for=1)
        async with cache.use("a"):
            with pytest.raises(OverloadedError):
                await use(cache, "b")
        await use(cache, "b")
        cache.close()

    asyncio.run(ask())
    assert loader.calls == ["a", "b"]


def test_model_is_warm_once_it_was_used(loader: Loader) -> None:
    async def ask() -> tuple[bool, bool]:
        cache = make_cache(loader)
        before = cache.is_warm("a")
        await use(cache, "a")
        after = cache.is_warm("a")
        cache.close()
        return before, after

    assert asyncio.run(ask()) == (False, True)


def test_failure_keeps_nothing_of_those_who_were_refused(loader: Loader) -> None:
    class Picture:
        """Held by the frame of whoever asks with it."""

    async def refuse(cache: ModelCache, pictures: "WeakSet[Picture]") -> None:
        picture = Picture()
        pictures.add(picture)
        with suppress(NotFoundError):
            await use(cache, "missing")

    async def ask() -> int:
        cache, pictures = make_cache(loader), WeakSet[Picture]()
        for _ in range(5):
            await refuse(cache, pictures)
        cache.close()
        gc.collect()
        return len(pictures)

    assert asyncio.run(ask()) <= 1  # the last one


def test_model_that_never_fits_is_not_loaded(loader: Loader) -> None:
    async def ask() -> None:
        cache = make_cache(loader, room_for=0)
        for _ in range(3):
            with pytest.raises(ConflictError, match="takes 100 bytes"):
                await use(cache, "a")
        cache.close()

    asyncio.run(ask())
    assert loader.calls == []


def test_room_is_made_before_a_model_is_loaded(loader: Loader) -> None:
    """Else both are in memory for a while."""

    async def ask() -> bool:
        cache = make_cache(loader, room_for=1)
        await use(cache, "a")
        loader.release.clear()
        second = asyncio.create_task(use(cache, "b"))
        while "b" not in loader.calls:
            await asyncio.sleep(0.01)
        is_first_gone = not cache.is_warm("a")
        loader.release.set()
        await second
        cache.close()
        return is_first_gone

    assert asyncio.run(ask())


def test_unknown_model_takes_nobody_s_room(loader: Loader) -> None:
    async def ask() -> bool:
        cache = make_cache(loader, room_for=1)
        await use(cache, "a")
        with pytest.raises(NotFoundError):
            await use(cache, "unknown")
        is_warm = cache.is_warm("a")
        cache.close()
        return is_warm

    assert asyncio.run(ask())


def test_failed_load_gives_its_room_back(loader: Loader) -> None:
    async def ask() -> None:
        cache = make_cache(loader, room_for=1)
        with pytest.raises(NotFoundError):
            await use(cache, "missing")
        await use(cache, "a")
        cache.close()

    asyncio.run(ask())
    assert loader.calls == ["missing", "a"]


@pytest.mark.parametrize("room_for", [1, SIMULTANEOUS_LOADS])
def test_many_cold_models_wait_for_their_turn_instead_of_being_refused(loader: Loader, room_for: int) -> None:
    async def ask() -> None:
        cache = make_cache(loader, room_for=room_for)
        await asyncio.gather(*(use(cache, f"model-{number}") for number in range(20)))
        cache.close()

    asyncio.run(ask())
    assert len(loader.calls) == 20


class Broken(Sized):
    """Its answers are no numbers."""

    calls = 0

    def predict(self, pixels: NDArray[np.uint8]) -> Predicted:
        self.calls += 1
        return Predicted(np.full((len(pixels), 2), np.nan, dtype=np.float32), unknown_scores=None)


def test_model_whose_answers_are_no_numbers_is_not_asked_for_ever() -> None:
    async def ask() -> None:
        batcher = Batcher(max_batch=1, num_threads=1)
        model = LoadedModel(cast(Predictor, broken), cast(ModelCard, None), batcher)
        for _ in range(MAX_FAULTS + 2):
            with pytest.raises(ConflictError, match="not a number"):
                await model.predict([np.zeros((2, 2, 3), dtype=np.uint8)])
        batcher.close()

    broken = Broken()
    asyncio.run(ask())
    assert broken.calls == MAX_FAULTS


def test_load_goes_on_when_the_first_who_asked_has_left(loader: Loader) -> None:
    async def ask() -> None:
        loader.release.clear()
        cache = make_cache(loader)
        first = asyncio.create_task(use(cache, "a"))
        while not loader.calls:
            await asyncio.sleep(0.01)
        first.cancel()
        second = asyncio.create_task(use(cache, "a"))
        await asyncio.sleep(0)
        loader.release.set()
        await second
        cache.close()

    asyncio.run(ask())
    assert loader.calls == ["a"]


def test_discarded_model_is_loaded_anew(loader: Loader) -> None:
    async def ask() -> None:
        cache = make_cache(loader)
        await use(cache, "a")
        cache.discard("a")
        await use(cache, "a")
        cache.close()

    asyncio.run(ask())
    assert loader.calls == ["a", "a"]
