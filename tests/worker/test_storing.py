import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.storage_errors import StorageUnavailableError
from core.trainer_protocol import CheckpointSaved
from tests.conditions import wait_until
from worker.storing import Storing

PATIENCE_SECONDS = 10


class Store:
    """Takes a checkpoint only when it may."""

    def __init__(self) -> None:
        self.may_store = threading.Event()
        self.begun: list[int] = []
        self.stored: list[int] = []
        self.flushed: list[int] = []  # what was stored by then

    def store(self, line: CheckpointSaved) -> None:
        self.begun.append(line.step)
        assert self.may_store.wait(PATIENCE_SECONDS)
        self.stored.append(line.step)

    def flush(self) -> None:
        assert self.may_store.wait(PATIENCE_SECONDS)
        self.flushed += self.stored


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def storing(store: Store) -> Iterator[Storing]:
    storing = Storing(store.store)
    yield storing
    storing.end()
    store.may_store.set()


def make_checkpoint(parent: Path, step: int) -> CheckpointSaved:
    directory = parent / str(step)
    directory.mkdir()
    return CheckpointSaved(step=step, epoch=1, directory=directory, files=[], metrics={}, is_best=False)


def test_what_is_stored_leaves_the_disk(store: Store, storing: Storing, tmp_path: Path) -> None:
    store.may_store.set()
    checkpoint = make_checkpoint(tmp_path, 1)

    storing.add_checkpoint(checkpoint)
    storing.wait(give_up=lambda: False)

    assert store.stored == [1]
    assert not checkpoint.directory.exists()


def test_only_the_newest_waits_behind_the_one_on_its_way(store: Store, storing: Storing, tmp_path: Path) -> None:
    checkpoints = [make_checkpoint(tmp_path, step) for step in (1, 2, 3, 4)]
    storing.add_checkpoint(checkpoints[0])
    wait_until(lambda: store.begun == [1], seconds=PATIENCE_SECONDS)
    for checkpoint in checkpoints[1:]:
        storing.add_checkpoint(checkpoint)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["1", "4"]

    store.may_store.set()
    storing.wait(give_up=lambda: False)

    assert store.stored == [1, 4]


def test_waiting_is_given_up(store: Store, storing: Storing, tmp_path: Path) -> None:
    storing.add_checkpoint(make_checkpoint(tmp_path, 1))

    storing.wait(give_up=lambda: True)

    assert store.stored == []


def test_flush_comes_once_after_the_checkpoints_and_is_waited_for(
    store: Store, storing: Storing, tmp_path: Path
) -> None:
    storing.add_checkpoint(make_checkpoint(tmp_path, 1))
    storing.request(store.flush)
    storing.request(store.flush)

    store.may_store.set()
    storing.wait(give_up=lambda: False)

    assert store.flushed == [1]


def test_error_of_the_thread_is_raised_where_the_run_is_run() -> None:
    def refuse() -> None:
        raise StorageUnavailableError("storage_unavailable", "away")

    storing = Storing(lambda _: None)
    storing.request(refuse)
    storing.wait(give_up=lambda: False)

    with pytest.raises(StorageUnavailableError):
        storing.check()
